import { execFile } from 'node:child_process'
import { EngineError } from '@gantry/std'

const OUTPUT_LIMIT = 8 << 20
const TIMEOUT_MS = 10_000

/** Runs the host's own ps (never one of the container) and keeps the lines of these processes. */
export async function processesOf(pids: readonly number[], args: string): Promise<{ readonly titles: readonly string[]; readonly processes: readonly (readonly string[])[] }> {
  const words = (args === '' ? '-ef' : args).split(/\s+/).filter((word) => word !== '')
  const output = await new Promise<string>((resolve, reject) => {
    execFile('ps', words, { maxBuffer: OUTPUT_LIMIT, timeout: TIMEOUT_MS, env: { PATH: '/usr/bin:/bin' } }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new EngineError('internal', `ps: ${(stderr.trim() === '' ? error.message : stderr.trim()).split('\n', 1)[0]}`, { cause: error }))
    })
  })
  const [head = '', ...lines] = output.split('\n')
  const titles = head.trim().split(/\s+/)
  const column = titles.indexOf('PID')
  if (column < 0) throw new EngineError('invalid', "Couldn't find PID field in ps output")
  const wanted = new Set(pids.map(String))
  const rows = lines.filter((line) => line.trim() !== '').map((line) => splitRow(line, titles.length))
  return { titles, processes: rows.filter((row) => wanted.has(row[column] ?? '')) }
}

/** The last column takes the rest of the line. */
function splitRow(line: string, columns: number): readonly string[] {
  const words = line.trim().split(/\s+/)
  return words.length <= columns ? words : [...words.slice(0, columns - 1), words.slice(columns - 1).join(' ')]
}
