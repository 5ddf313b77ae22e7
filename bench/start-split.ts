/**
 * The kernel's part of a start, split by step, beside the floor that a bare C program reached for the same work
 * (docs/promises.md says where it comes from). Medians of many starts, in microseconds.
 *
 *   npm run bench:start -- [--rounds N]
 */
import { parseArgs } from 'node:util'
import { ownClient, type TestDaemon, testDaemon } from '../tests/harness.ts'
import { median } from './timing.ts'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '60' } } })

interface Step {
  readonly phase: string
  readonly what: string
  readonly side: 'daemon' | 'shim' | 'init'
  readonly from: number
  readonly to: number
}

/** What the floor counts together, and which of our steps belong to it. Capabilities and filter are in the whole only: behind the filter nobody asks for the time. */
const PARTS: readonly { readonly name: string; readonly floor: number; readonly has: (step: Step) => boolean }[] = [
  { name: 'cgroups and their rules', floor: 400, has: (step) => step.side === 'shim' && step.phase === 'cgroup' },
  { name: 'streams, files, clone with namespaces', floor: 860, has: (step) => step.side === 'shim' && (step.phase === 'stdio' || step.phase === 'clone') },
  { name: 'first steps of the process', floor: 90, has: (step) => step.side === 'init' && step.phase === 'process' && !step.what.startsWith('wait') },
  { name: 'mounts', floor: 645, has: (step) => step.side === 'init' && step.phase === 'mounts' && !step.what.startsWith('pivot') },
  { name: 'pivot, masks, read-only paths', floor: 260, has: (step) => step.side === 'init' && (step.phase === 'lockdown' || step.what.startsWith('pivot')) },
  { name: 'network, host’s side (beside the mounts)', floor: 550, has: (step) => step.side === 'shim' && step.phase === 'network' },
]
/** From taking up the work to the user's program: the sum of the floor's parts, but for the network, which runs beside. */
const WHOLE = 155 + 400 + 860 + 90 + 645 + 260 + 183

let daemon: TestDaemon
const { ok } = ownClient(() => daemon)

async function main(): Promise<void> {
  const rounds: (readonly Step[])[] = []
  for (let n = 0; n < Number(values.rounds) + 5; n++) {
    const id = await ok('run', '-d', 'busybox', 'sleep', '100')
    const steps = (await daemon.api.json<{ steps: readonly Step[] }>('GET', `/containers/${id}/trace`)).steps
    if (n >= 5) rounds.push(steps)
    await ok('rm', '-f', id)
  }
  const spent = (steps: readonly Step[], has: (step: Step) => boolean): number => steps.filter(has).reduce((sum, step) => sum + step.to - step.from, 0)
  process.stdout.write(`${'part of a start, median µs'.padEnd(44)}${'here'.padStart(8)}${'floor'.padStart(8)}${'ratio'.padStart(8)}\n`)
  for (const { name, floor, has } of PARTS) {
    const here = median(rounds.map((steps) => spent(steps, has)))
    process.stdout.write(`${name.padEnd(44)}${here.toFixed(0).padStart(8)}${String(floor).padStart(8)}${(here / floor).toFixed(2).padStart(8)}\n`)
  }
  const kernel = median(rounds.map((steps) => {
    const inside = steps.filter((step) => step.side !== 'daemon')
    return Math.max(...inside.map((step) => step.to)) - Math.min(...inside.map((step) => step.from))
  }))
  process.stdout.write(`${'from taking it up to the user’s program'.padEnd(44)}${kernel.toFixed(0).padStart(8)}${String(WHOLE).padStart(8)}${(kernel / WHOLE).toFixed(2).padStart(8)}\n`)
}

daemon = await testDaemon()
try {
  await main()
} finally {
  await daemon.dispose()
}
