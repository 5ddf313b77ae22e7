/** The same on a kernel with only cgroup version 2: a Debian kernel in QEMU under software emulation, with this very checkout. */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { exec, type Ran, root } from '../harness.ts'

const have = async (program: string): Promise<boolean> => (await exec('sh', ['-c', `command -v ${program}`])).code === 0
const skip = process.getuid?.() !== 0 ? 'needs root' : !(await have('qemu-system-x86_64')) || !(await have('modprobe')) || !(await have('cpio')) ? 'needs qemu-system-x86, kmod and cpio' : process.arch !== 'x64' ? 'the machine is x86-64' : false

/** Seconds that a machine may be up. */
const LIMIT_S = 400

for (const files of [['limits'], ['security'], ['runtimes'], ['apparmor', 'checkpoint', 'quotas'], ['oci-runtime', 'oci-fields', 'oci-validation']]) {
  it(`${files.join(', ')} on a kernel with cgroup version 2`, { skip, timeout: (2 * LIMIT_S + 60) * 1000 }, async () => {
    const attempt = (): Promise<Ran> => exec('sh', [`${root}/tools/vm.sh`, `${root}/build/node`, '--test', '--test-concurrency=1', '--test-reporter=tap', ...files.map((file) => `${root}/tests/root/${file}.test.ts`)], { env: { GANTRY_VM_LIMIT: String(LIMIT_S) } })
    const first = await attempt()
    // Under emulation Node itself dies or stands still now and then (seen: V8's "Check failed: it->second.Size() > offset", SIGSEGV while a test file loads, a machine that printed nothing for an hour): once more then.
    const died = first.code === 124 || /Fatal error in , line 0|signal: 'SIG(SEGV|TRAP|ILL|ABRT|BUS)'/.test(first.out)
    const ran = first.code !== 0 && died ? await attempt() : first
    assert.equal(ran.code, 0, ran.out.slice(-4000) + ran.err)
    assert.match(ran.out, /# fail 0/)
    assert.doesNotMatch(ran.out, /# pass 0/)
  })
}
