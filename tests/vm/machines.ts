/** Test files that run once more on a kernel with only cgroup version 2: a Debian kernel in QEMU under software emulation, with this very checkout. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { exec, type Ran, root, sleep } from '../harness.ts'

/** Files that share a machine. */
export const MACHINES: readonly (readonly string[])[] = [['limits'], ['security'], ['runtimes'], ['apparmor', 'checkpoint', 'quotas'], ['oci-runtime', 'oci-fields', 'oci-validation']]

/** Seconds that a machine may be up. */
export const LIMIT_S = 400

const have = async (program: string): Promise<boolean> => (await exec('sh', ['-c', `command -v ${program}`])).code === 0

/** Why no machine can be had here, or false. */
export async function noMachines(): Promise<string | false> {
  if (process.getuid?.() !== 0) return 'needs root'
  if (process.arch !== 'x64') return 'the machine is x86-64'
  return (await have('qemu-system-x86_64')) && (await have('modprobe')) && (await have('cpio')) ? false : 'needs qemu-system-x86, kmod and cpio'
}

/** Runs files in a machine; a second time where the first died under them. */
export async function runMachine(files: readonly string[]): Promise<Ran> {
  const attempt = (): Promise<Ran> => exec('setpriv', ['--pdeathsig', 'TERM', 'sh', `${root}/tools/vm.sh`, `${root}/build/node`, '--test', '--test-concurrency=1', '--test-reporter=tap', ...files.map((file) => `${root}/tests/root/${file}.test.ts`)], { env: { GANTRY_VM_LIMIT: String(LIMIT_S) } })
  const first = await attempt()
  // Under emulation Node itself dies or stands still now and then (seen: V8's "Check failed: it->second.Size() > offset", SIGSEGV while a test file loads, a machine that printed nothing for an hour): once more then.
  const died = first.code === 124 || /Fatal error in , line 0|signal: 'SIG(SEGV|TRAP|ILL|ABRT|BUS)'/.test(first.out)
  return first.code !== 0 && died ? attempt() : first
}

const resultOf = (folder: string, files: readonly string[]): string => `${folder}/${files.join('+')}.json`

/** Keeps what a machine came to, for a test in another process. */
export function keepResult(folder: string, files: readonly string[], ran: Ran): void {
  const path = resultOf(folder, files)
  writeFileSync(`${path}.new`, JSON.stringify(ran))
  renameSync(`${path}.new`, path)
}

/** What a machine came to that another process runs; waits for it. */
export async function awaitResult(folder: string, files: readonly string[]): Promise<Ran> {
  const path = resultOf(folder, files)
  for (const end = Date.now() + 2 * MACHINES.length * LIMIT_S * 1000; !existsSync(path); await sleep(500)) if (Date.now() > end) throw new Error(`no machine ran ${files.join(', ')}`)
  return JSON.parse(readFileSync(path, 'utf8')) as Ran
}
