import { StringDecoder } from 'node:string_decoder'
import { outputOf } from '@gantry/api'
import { EngineError, messageOf, parseTimestamp } from '@gantry/std'
import { type Command, type Context, each } from '../command.ts'
import type { Parsed } from '../flags.ts'
import { coloured } from '../output.ts'

const COLOURS = ['cyan', 'yellow', 'green', 'magenta', 'blue', 'red'] as const
type Write = (stream: NodeJS.WriteStream, line: string) => void

function checkTime(flag: string, text: string): void {
  try {
    if (text !== '') parseTimestamp(text)
  } catch (cause) {
    throw new EngineError('invalid', `invalid value for "${flag}": ${messageOf(cause)}`, { cause })
  }
}

function pattern(text: string): RegExp | undefined {
  if (text === '') return undefined
  try {
    return new RegExp(text)
  } catch (cause) {
    throw new EngineError('invalid', `--grep: ${messageOf(cause)}`, { cause })
  }
}

/** Cuts bytes into lines; what has no end yet waits. */
function lines(take: (line: string) => void): { add(bytes: Buffer): void; end(): void } {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  return {
    add(bytes) {
      const parts = (rest + decoder.write(bytes)).split('\n')
      rest = parts.pop() ?? ''
      for (const part of parts) take(part)
    },
    end() {
      if (rest !== '') take(rest)
    },
  }
}

/** Streams one log; `write` undefined: as it comes. */
async function one(context: Context, name: string, parsed: Parsed, timestamps: boolean, write: Write | undefined): Promise<void> {
  const { Config } = await context.api.json<{ Config: { Tty: boolean } }>('GET', `/containers/${name}/json`)
  const response = await context.api.send('GET', `/containers/${name}/logs`, { query: { stdout: true, stderr: true, follow: parsed.bool('follow'), tail: parsed.text('tail') || 'all', since: parsed.text('since'), until: parsed.text('until'), timestamps, details: parsed.bool('details') } })
  const cutters = { stdout: lines((line) => write?.(process.stdout, line)), stderr: lines((line) => write?.(process.stderr, line)) }
  for await (const { stream, bytes } of outputOf(response, Config.Tty)) {
    if (write === undefined) process[stream].write(bytes)
    else cutters[stream].add(bytes)
  }
  for (const cutter of Object.values(cutters)) cutter.end()
}

/** Logs of several containers, each line under its container's name; in the order of their times, unless they are followed. */
async function several(context: Context, names: readonly string[], parsed: Parsed, wanted: RegExp | undefined): Promise<void> {
  const width = Math.max(...names.map((name) => name.length))
  const kept: { readonly time: string; readonly stream: NodeJS.WriteStream; readonly text: string }[] = []
  const showTime = parsed.bool('timestamps')
  await Promise.all(names.map((name, index) => one(context, name, parsed, true, (stream, line) => {
    const [time = ''] = line.split(' ', 1)
    const body = line.slice(time.length + 1)
    if (wanted !== undefined && !wanted.test(body)) return
    const text = `${coloured(COLOURS[index % COLOURS.length] ?? 'cyan', `${name.padEnd(width)} |`, stream)} ${showTime ? `${time} ` : ''}${body}\n`
    if (parsed.bool('follow')) stream.write(text)
    else kept.push({ time, stream, text })
  })))
  for (const { stream, text } of kept.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))) stream.write(text)
}

async function logs(context: Context, parsed: Parsed): Promise<number> {
  for (const flag of ['since', 'until']) checkTime(flag, parsed.text(flag))
  const wanted = pattern(parsed.text('grep'))
  if (parsed.bool('clear')) {
    if (parsed.bool('follow')) throw new EngineError('invalid', 'conflicting options: cannot specify both --clear and --follow')
    return each(parsed.rest, async (name) => ((await context.api.send('DELETE', `/containers/${name}/logs`)).resume(), name))
  }
  const [name = '', ...others] = parsed.rest
  if (others.length > 0) await several(context, parsed.rest, parsed, wanted)
  else await one(context, name, parsed, parsed.bool('timestamps'), wanted === undefined ? undefined : (stream, line) => void (wanted.test(line) && stream.write(`${line}\n`)))
  return 0
}

/** Logs, of one container or of several. */
export const LOG_COMMANDS: readonly Command[] = [
  {
    names: ['logs', 'container logs'], usage: 'logs [OPTIONS] CONTAINER [CONTAINER...]', help: 'Fetch the logs of a container, or of several', run: logs,
    flags: [
      { name: 'follow', short: 'f', kind: 'bool', help: 'Follow log output' }, { name: 'tail', short: 'n', kind: 'text', help: 'Number of lines to show from the end of the logs' }, { name: 'since', kind: 'text', help: 'Show logs since timestamp' }, { name: 'until', kind: 'text', help: 'Show logs before a timestamp' }, { name: 'timestamps', short: 't', kind: 'bool', help: 'Show timestamps' }, { name: 'details', kind: 'bool', help: 'Show extra details' },
      { name: 'grep', kind: 'text', help: 'Show only lines that a regular expression fits (ours)' }, { name: 'clear', kind: 'bool', help: 'Forget what has been logged (ours)' },
    ],
  },
]
