/** The same on a kernel with only cgroup version 2: a Debian kernel in QEMU under software emulation, with this very checkout. */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { exec, type Ran, root } from '../harness.ts'

const have = async (program: string): Promise<boolean> => (await exec('sh', ['-c', `command -v ${program}`])).code === 0
const skip = process.getuid?.() !== 0 ? 'needs root' : !(await have('qemu-system-x86_64')) || !(await have('modprobe')) || !(await have('cpio')) ? 'needs qemu-system-x86, kmod and cpio' : process.arch !== 'x64' ? 'the machine is x86-64' : false

for (const files of [['limits'], ['security'], ['runtimes'], ['apparmor', 'checkpoint'], ['oci-runtime', 'oci-fields', 'oci-validation']]) {
  it(`${files.join(', ')} on a kernel with cgroup version 2`, { skip, timeout: 600_000 }, async () => {
    const attempt = (): Promise<Ran> => exec('sh', [`${root}/tools/vm.sh`, `${root}/build/node`, '--test', '--test-concurrency=1', '--test-reporter=tap', ...files.map((file) => `${root}/tests/root/${file}.test.ts`)])
    const first = await attempt()
    // Under emulation V8 itself gives up now and then, before a test has begun (seen: "Check failed: it->second.Size() > offset"): once more then.
    const ran = first.code !== 0 && /Fatal error in , line 0/.test(first.out) ? await attempt() : first
    assert.equal(ran.code, 0, ran.out.slice(-4000) + ran.err)
    assert.match(ran.out, /# fail 0/)
    assert.doesNotMatch(ran.out, /# pass 0/)
  })
}
