/** What a container can and cannot do, probed from inside; what hostile archives can touch. Names are those of the classes in SECURITY.md. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { BLOCK, encodeHeader, padding, type TarEntry } from '../../packages/graph/src/index.ts'
import { disposeClean, NOTHING, settledCensus } from '../census.ts'
import { exec, importArchive, type Ran, root, testDaemon, type TestDaemon } from '../harness.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false
const entry = (path: string, type: TarEntry['type'], fields: Partial<TarEntry> = {}): TarEntry => ({ path, type, mode: type === 'directory' ? 0o755 : 0o644, uid: 0, gid: 0, size: 0, mtimeSeconds: 1, mtimeNanos: 0, link: '', major: 0, minor: 0, xattrs: new Map(), ...fields })
const file = (path: string, text: string, fields: Partial<TarEntry> = {}): Buffer => Buffer.concat([encodeHeader(entry(path, 'file', { size: Buffer.byteLength(text), ...fields })), Buffer.from(text), padding(Buffer.byteLength(text))])
const tar = (...parts: readonly Buffer[]): Readable => Readable.from([Buffer.concat([...parts, Buffer.alloc(BLOCK * 2)])])

describe('security', { skip }, () => {
  let daemon: TestDaemon
  const gantry = (...args: readonly string[]): Promise<Ran> => exec(`${root}/build/node`, [`${root}/build/gantry.cjs`, '-H', daemon.host, ...args])
  const inside = async (script: string, ...flags: readonly string[]): Promise<string> => (await gantry('run', '--rm', ...flags, 'busybox', 'sh', '-c', script)).out.trim()
  const importTar = async (name: string, ...parts: readonly Buffer[]): Promise<void> => importArchive(daemon, { repo: name }, tar(...parts))
  before(async () => {
    daemon = await testDaemon()
  })
  after(async () => {
    for (const id of (await gantry('ps', '-aq')).out.split('\n').filter((one) => one !== '')) await gantry('rm', '-f', id)
    await disposeClean(daemon)
  })

  it('system calls of the default profile', async () => {
    assert.match(await inside('unshare -m true 2>&1; mount -t tmpfs x /mnt 2>&1'), /Operation not permitted[\s\S]*permission denied/i)
  })
  it('masked and read-only paths', async () => {
    assert.equal(await inside('cat /proc/kcore | wc -c; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v : | wc -w; (echo 1 > /proc/sys/kernel/panic) 2>&1 | grep -c Read-only; (echo 1 > /proc/sys/vm/drop_caches) 2>&1 | grep -c Read-only'), '0\n0\n1\n1')
  })
  it('cgroups are read-only, devices closed', async () => {
    assert.equal(await inside('cd /sys/fs/cgroup; [ -d memory ] && cd memory; mkdir x 2>&1 | grep -c Read-only; mknod /tmp/disk b 8 0 && (head -c1 /tmp/disk 2>&1 | grep -c "Operation not permitted"); head -c1 /dev/zero | wc -c'), '1\n1\n1')
  })
  it('no descriptor of the house leaks in', async () => assert.equal(await inside('ls /proc/self/fd | tr "\\n" " "'), '0 1 2 3'))
  it('a working directory through a leaked descriptor (CVE-2024-21626)', async () => {
    for (const fd of [3, 4, 7, 8, 9, 10]) {
      const ran = await gantry('run', '--rm', '-w', `/proc/self/fd/${fd}`, 'busybox', 'cat', '../../etc/hostname')
      // A descriptor of the container's own is as good as its path.
      assert.ok(ran.code !== 0 || /^[0-9a-f]{12}\n$/.test(ran.out), ran.out)
    }
  })
  it('privileged lifts the profile; cap-drop ALL leaves nothing', async () => {
    assert.match(await inside('grep -E "CapEff|Seccomp:" /proc/self/status', '--privileged'), /CapEff:\t0{0,6}[1-9a-f][0-9a-f]+\nSeccomp:\t0/)
    assert.match(await inside('grep CapEff /proc/self/status', '--cap-drop', 'ALL'), /CapEff:\t0{16}/)
    assert.match(await inside('grep NoNewPrivs /proc/self/status', '--security-opt', 'no-new-privileges'), /NoNewPrivs:\t1/)
  })
  it('capabilities of a user are empty, the bounding set stays', async () => {
    assert.equal(await inside('grep -E "Cap(Inh|Prm|Eff|Bnd|Amb)" /proc/self/status | cut -f2 | tr "\\n" " "', '-u', '1000'), '0000000000000000 0000000000000000 0000000000000000 00000000a80425fb 0000000000000000')
  })
  it('an image whose /dev, /proc and /sys are links elsewhere (CVE-2026-41579)', async () => {
    const busybox = readFileSync('/bin/busybox')
    await importTar('links', encodeHeader(entry('bin', 'directory')), encodeHeader(entry('bin/sh', 'file', { size: busybox.length, mode: 0o755 })), busybox, padding(busybox.length), ...['dev', 'proc', 'sys', 'etc'].map((name) => encodeHeader(entry(name, 'link', { link: '/tmp/gantry-outside' }))))
    const ran = await gantry('run', '--rm', 'links', '/bin/sh', '-c', 'test -e /dev/null && test -e /proc/self && echo contained')
    assert.equal(ran.out, 'contained\n')
    assert.equal(existsSync('/tmp/gantry-outside'), false)
  })
  it('hostile layers touch nothing outside', async () => {
    mkdirSync(`${daemon.home}/victim`)
    writeFileSync(`${daemon.home}/victim/file`, 'untouched')
    const victim = `${daemon.home}/victim`
    const attempts: readonly (readonly Buffer[])[] = [
      [file('../../../../../../../../tmp/gantry-escape', 'x')],
      [file('/tmp/gantry-escape', 'x')],
      [encodeHeader(entry('d', 'link', { link: victim })), file('d/file', 'changed')],
      [encodeHeader(entry('d', 'link', { link: '../../../../../../../../../../..' })), file(`d${victim}/file`, 'changed')],
      [encodeHeader(entry('h', 'hardlink', { link: `${victim}/file` }))],
      [encodeHeader(entry('l', 'link', { link: `${victim}/file` })), file('l', 'changed')],
      [encodeHeader(entry('d', 'link', { link: victim })), encodeHeader(entry('d/.wh.file', 'file'))],
      [encodeHeader(entry('d', 'link', { link: victim })), encodeHeader(entry('d/.wh..wh..opq', 'file'))],
      [encodeHeader(entry('d', 'link', { link: victim })), encodeHeader(entry('d', 'directory', { mode: 0o777 }))],
    ]
    for (const [index, parts] of attempts.entries()) await importTar(`hostile${index}`, ...parts).catch((error: unknown) => assert.ok(error instanceof Error))
    assert.equal(readFileSync(`${victim}/file`, 'utf8'), 'untouched')
    assert.equal(existsSync('/tmp/gantry-escape'), false)
  })
  it('cp into a container through a link stays inside', async () => {
    await gantry('run', '-d', '--name', 'trap', 'busybox', 'sh', '-c', `ln -s ${daemon.home}/victim /out; sleep 1000`)
    writeFileSync(`${daemon.home}/file`, 'changed')
    await gantry('cp', `${daemon.home}/file`, 'trap:/out/file')
    await gantry('cp', `${daemon.home}/file`, 'trap:/../../../../tmp/gantry-escape')
    assert.equal(readFileSync(`${daemon.home}/victim/file`, 'utf8'), 'untouched')
    assert.equal(existsSync('/tmp/gantry-escape'), false)
  })
  it('memory and forks are bounded', async () => {
    const ran = await gantry('run', '--rm', '--pids-limit', '20', 'busybox', 'sh', '-c', 'for i in $(seq 40); do sleep 1 & done 2>&1; wait; echo done')
    assert.match(ran.out + ran.err, /fork|done/)
  })
  it('--explain prints the program and leaves nothing; trace tells the steps of a start', async () => {
    const explained = await gantry('run', '--explain', '-p', '18999:80', 'busybox', 'true')
    assert.match(explained.out, /# mounts[\s\S]*pivot into the root file system[\s\S]*load the system call filter[\s\S]*exec: "true"/)
    assert.equal((await gantry('ps', '-aq', '--filter', 'ancestor=busybox', '--filter', 'status=created')).out, '')
    const traced = await gantry('trace', '-a', 'trap')
    assert.match(traced.out, /init[\s\S]*mount the root file system/)
  })
})

describe('the vfs driver', { skip }, () => {
  it('runs, commits and diffs as overlay2 does', async () => {
    const daemon = await testDaemon(['--storage-driver', 'vfs'])
    const gantry = (...args: readonly string[]): Promise<Ran> => exec(`${root}/build/node`, [`${root}/build/gantry.cjs`, '-H', daemon.host, ...args])
    try {
      assert.equal((await gantry('run', '--name', 'one', 'busybox', 'sh', '-c', 'echo x > /f; rm -r /bin/vi /usr; cat /etc/hostname | wc -l')).out, '1\n')
      assert.match((await gantry('diff', 'one')).out, /^C \/bin\nD \/bin\/vi\nA \/f\nD \/usr$/m)
      assert.equal((await gantry('commit', 'one', 'two')).code, 0)
      assert.equal((await gantry('run', '--rm', 'two', 'sh', '-c', 'cat /f; test -e /bin/vi || test -e /usr || echo gone')).out, 'x\ngone\n')
      assert.equal((await gantry('info', '-f', '{{.Driver}}')).out, 'vfs\n')
      await gantry('rm', '-f', 'one')
      assert.deepEqual(await settledCensus(daemon), NOTHING)
    } finally {
      await daemon.dispose()
    }
  })
})
