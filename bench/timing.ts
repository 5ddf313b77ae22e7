import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The middle one. */
export const median = (list: readonly number[]): number => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN

/**
 * Milliseconds from fork to exit of each of `count` runs of a program, its output dropped; one that fails ends it. A small process
 * does the forking: one from Node costs 1 to 4 ms more, and that much would hide behind every figure.
 */
export async function timedRuns(count: number, words: readonly string[]): Promise<readonly number[]> {
  const script = 'use Time::HiRes q(time); open STDOUT_KEPT, ">&STDOUT"; open STDOUT, ">/dev/null"; $n = shift; for (1..$n) { $t = time; system(@ARGV) == 0 or die "@ARGV failed\\n"; printf STDOUT_KEPT "%.3f\\n", (time - $t) * 1000 }'
  const { stdout } = await run('perl', ['-e', script, String(count), ...words])
  return stdout.trim().split('\n').map(Number)
}

/** Milliseconds of CPU, user and system, that a run of a program takes: the mean of `count` runs, for the kernel counts in ticks of 10 ms. */
export async function cpuOfRun(count: number, words: readonly string[]): Promise<number> {
  const script = 'open STDOUT_KEPT, ">&STDOUT"; open STDOUT, ">/dev/null"; $n = shift; (undef, undef, $u, $s) = times; for (1..$n) { system(@ARGV) == 0 or die "@ARGV failed\\n" } (undef, undef, $v, $t) = times; printf STDOUT_KEPT "%.3f\\n", ($v + $t - $u - $s) * 1000 / $n'
  const { stdout } = await run('perl', ['-e', script, String(count), ...words])
  return Number(stdout.trim())
}
