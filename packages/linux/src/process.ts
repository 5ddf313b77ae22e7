import { readText } from '@gantry/std'

/** Field 22 of proc(5) /proc/PID/stat; empty when the process has ended, reaped or not. */
export function startTimeOf(pid: number): string {
  const stat = readText(`/proc/${pid}/stat`)
  const [state, ...rest] = stat === undefined ? [] : stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return state === undefined || state === 'Z' || state === 'X' ? '' : (rest[18] ?? '')
}
