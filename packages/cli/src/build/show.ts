import { coloured } from '../output.ts'

/** An event of a step, as the daemon tells it. */
export interface StepEvent {
  readonly number: number
  readonly total?: number
  readonly stage?: string
  readonly name?: string
  readonly needs?: readonly number[]
  readonly event: 'begin' | 'output' | 'done' | 'failed' | 'warning'
  readonly cached?: boolean
  readonly text?: string
  readonly message?: string
  /** Milliseconds since the build began. */
  readonly at?: number
}

/** A step as it was. */
interface Step {
  readonly number: number
  readonly stage: string
  readonly name: string
  readonly needs: readonly number[]
  readonly from: number
  to: number | undefined
  cached: boolean
  tail: string[]
}

/** Shows the steps of a build. */
export interface BuildView {
  take(event: StepEvent): void
  /** Nothing more comes. */
  end(): void
  /** What decided how long it took: each step with its share, the last first. */
  criticalPath(): string
}

const FRAME_MS = 100
const TAIL = 4
const MAX_STEPS_SHOWN = 6

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)}s`
const heading = (step: Step): string => `[${step.stage}] ${step.name}`

function criticalPath(steps: ReadonlyMap<number, Step>): string {
  const last = [...steps.values()].filter((step) => step.to !== undefined).sort((a, b) => (b.to ?? 0) - (a.to ?? 0))[0]
  const lines: string[] = []
  for (let step = last; step !== undefined; ) {
    const before: Step | undefined = step.needs.flatMap((number) => steps.get(number) ?? []).sort((a, b) => (b.to ?? 0) - (a.to ?? 0))[0]
    const began = Math.max(step.from, before?.to ?? 0)
    lines.push(`${seconds((step.to ?? began) - began).padStart(8)}  ${heading(step)}${step.cached ? '  (cached)' : ''}`)
    step = before
  }
  return `Critical path, ${seconds(last?.to ?? 0)} in all:\n${lines.reverse().join('\n')}\n`
}

/** Lines as they come: a heading when a step begins or goes on, its output with its number, a line at its end. */
function plainView(out: NodeJS.WriteStream): (event: StepEvent, step: Step | undefined) => void {
  const rest = new Map<number, string>()
  let speaking = 0
  const speak = (number: number, text: string): void => {
    if (speaking !== 0 && speaking !== number) out.write('\n')
    speaking = number
    out.write(text)
  }
  return (event, step) => {
    if (step === undefined) return void out.write(`${event.message ?? ''}\n`)
    const { number } = step
    if (event.event === 'begin') speak(number, `#${number} ${heading(step)}\n`)
    else if (event.event === 'output') {
      const lines = `${rest.get(number) ?? ''}${event.text ?? ''}`.split('\n')
      rest.set(number, lines.pop() ?? '')
      if (lines.length > 0) speak(number, lines.map((line) => `#${number} ${seconds(performance.now() - started).replace('s', '')} ${line}\n`).join(''))
    } else {
      const left = rest.get(number) ?? ''
      if (left !== '') speak(number, `#${number} ${left}\n`)
      speak(number, event.event === 'failed' ? `#${number} ERROR: ${event.message}\n` : step.cached ? `#${number} CACHED\n` : `#${number} DONE ${seconds((step.to ?? 0) - step.from)}\n`)
    }
  }
}

const started = performance.now()

/** Steps that are over as a line each, those that run below them with the end of their output; drawn anew in place. */
function livePainter(out: NodeJS.WriteStream, steps: Map<number, Step>): { take(event: StepEvent, step: Step | undefined): void; end(): void } {
  let drawn = 0
  const columns = (): number => Math.max(20, (out.columns || 80) - 1)
  const line = (step: Step, mark: string, ms: number): string => {
    const time = step.cached ? 'cached' : seconds(ms)
    const text = `${mark} ${heading(step)}`.slice(0, columns() - time.length - 1)
    return `${text.padEnd(columns() - time.length)}${time}`
  }
  const erase = (): string => (drawn === 0 ? '' : `\u001b[${drawn}A\u001b[J`)
  const draw = (settled: string): void => {
    const running = [...steps.values()].filter((step) => step.to === undefined).slice(0, MAX_STEPS_SHOWN)
    const lines = running.flatMap((step) => [coloured('cyan', line(step, '=>', performance.now() - started - step.from), out), ...step.tail.map((text) => coloured('dim', `   ${text}`.slice(0, columns()), out))])
    out.write(`${erase()}${settled}${lines.map((one) => `${one}\n`).join('')}`)
    drawn = lines.length
  }
  const timer = setInterval(() => draw(''), FRAME_MS)
  timer.unref()
  return {
    take(event, step) {
      if (step === undefined) return draw(`${coloured('yellow', event.message ?? '', out)}\n`)
      if (event.event === 'output') {
        const lines = `${step.tail.pop() ?? ''}${event.text ?? ''}`.split('\n')
        step.tail = [...step.tail, ...lines].slice(-TAIL - 1)
      } else if (event.event === 'done') draw(`${coloured(step.cached ? 'dim' : 'green', line(step, step.cached ? '  ' : 'ok', (step.to ?? 0) - step.from), out)}\n`)
      else if (event.event === 'failed') draw(`${coloured('red', line(step, '!!', (step.to ?? 0) - step.from), out)}\n${step.tail.map((text) => `   ${text}\n`).join('')}`)
    },
    end() {
      clearInterval(timer)
      out.write(erase())
      drawn = 0
    },
  }
}

/** Makes a view: `plain` or `tty`. */
export function buildView(out: NodeJS.WriteStream, mode: 'plain' | 'tty'): BuildView {
  const steps = new Map<number, Step>()
  const plain = mode === 'plain' ? plainView(out) : undefined
  const live = mode === 'tty' ? livePainter(out, steps) : undefined
  return {
    take(event) {
      const { number, at = 0 } = event
      if (event.event === 'begin') steps.set(number, { number, stage: event.stage ?? '', name: event.name ?? '', needs: event.needs ?? [], from: at, to: undefined, cached: false, tail: [] })
      const step = steps.get(number)
      if (step !== undefined && (event.event === 'done' || event.event === 'failed')) {
        step.to = at
        step.cached = event.cached === true
      }
      plain?.(event, step)
      live?.take(event, step)
    },
    end: () => live?.end(),
    criticalPath: () => criticalPath(steps),
  }
}
