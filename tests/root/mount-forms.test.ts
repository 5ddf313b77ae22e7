/** What `--mount` takes beyond plain binds and volumes, and mounts of containers that run. */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { exec, ownClient, type TestDaemon, testDaemon } from '../harness.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'

describe('forms of mounts', { skip }, () => {
  let daemon: TestDaemon
  const { gantry, ok } = ownClient(() => daemon)
  const run = (mount: string, ...script: readonly string[]): Promise<string> => ok('run', '--rm', '--mount', mount, 'busybox', 'sh', '-c', script.join('; '))
  const refused = async (pattern: RegExp, ...words: readonly string[]): Promise<void> => {
    const ran = await gantry(...words)
    assert.notEqual(ran.code, 0)
    assert.match(ran.err, pattern)
  }
  before(async () => {
    daemon = await testDaemon()
    await ok('run', '--rm', '-v', 'data:/v', 'busybox', 'sh', '-c', 'mkdir -p /v/sub/deep; echo one >/v/sub/file; ln -s /etc /v/evil; ln -s ../../../../../etc /v/up; ln -s /sub /v/good')
  })
  after(async () => {
    for (const name of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', '-v', name)
    for (const name of (await ok('volume', 'ls', '-q')).split('\n').filter((one) => one !== '')) await ok('volume', 'rm', name)
    await disposeClean(daemon)
  })

  it('type=image: the files of an image, read-only; a part of them; held while the container is there', async () => {
    assert.match(await run('type=image,source=busybox,target=/img', 'ls /img/bin/sh', 'touch /img/x 2>&1 || true'), /^\/img\/bin\/sh\n.*Read-only file system/)
    assert.match(await run('type=image,source=busybox,target=/img,image-subpath=bin', 'ls /img/sh', 'grep " /img " /proc/mounts'), /^\/img\/sh\n.* ro,/)
    assert.equal(await run('type=image,source=busybox,target=/mine/busybox,image-subpath=bin/busybox', '/mine/busybox echo runs'), 'runs')
    await refused(/cannot access path busybox\/nope: .*no such file or directory/, 'run', '--rm', '--mount', 'type=image,source=busybox,target=/img,image-subpath=nope', 'busybox', 'true')
    await refused(/subpath must be a relative path/, 'run', '--rm', '--mount', 'type=image,source=busybox,target=/img,image-subpath=../x', 'busybox', 'true')
    await refused(/field Source must not be empty/, 'run', '--rm', '--mount', 'type=image,target=/img', 'busybox', 'true')
    await ok('create', '--name', 'maker', 'busybox', 'true')
    await ok('commit', 'maker', 'second')
    await ok('create', '--name', 'holder', '--mount', 'type=image,source=second,target=/img', 'busybox', 'ls', '/img/bin/sh')
    assert.equal(await ok('inspect', '-f', '{{(index .Mounts 0).Type}} {{(index .Mounts 0).Name}} {{(index .Mounts 0).RW}}', 'holder'), 'image second false')
    await refused(/conflict: unable to (remove|delete)/i, 'rmi', 'second')
    assert.equal(await ok('start', '-a', 'holder'), '/img/bin/sh')
    await ok('rm', 'holder', 'maker')
    await ok('rmi', 'second')
  })
  it('volume-subpath: what lies below the volume, whatever links say', async () => {
    assert.equal(await run('type=volume,source=data,target=/v,volume-subpath=sub', 'cat /v/file', 'ls /v'), 'one\ndeep\nfile')
    assert.equal(await run('type=volume,source=data,target=/v,volume-subpath=good/deep', 'ls -a /v'), '.\n..')
    assert.equal(await run('type=volume,source=data,target=/v,volume-subpath=sub/file', 'cat /v'), 'one')
    for (const path of ['evil', 'up', 'evil/passwd', 'nope']) await refused(/cannot access path .*: no such file or directory/, 'run', '--rm', '--mount', `type=volume,source=data,target=/v,volume-subpath=${path}`, 'busybox', 'true')
    for (const path of ['/abs', '../x', 'a/../../x']) await refused(/subpath must be a relative path within the volume/, 'run', '--rm', '--mount', `type=volume,source=data,target=/v,volume-subpath=${path}`, 'busybox', 'true')
    await ok('create', '--name', 'still', '--mount', 'type=volume,source=data,target=/v,volume-subpath=good', 'busybox', 'true')
    assert.match((await exec('sh', ['-c', `${process.execPath} build/gantry.cjs -H ${daemon.host} cp still:/v - | tar t`])).out, /^v\/\n[\s\S]*v\/file/)
    await ok('rm', 'still')
  })
  it('a volume is made with the driver, options and labels that the mount names', async () => {
    assert.match(await run('type=volume,source=made,target=/m,volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-opt=o=size=1m,volume-label=a=b', 'df -k /m | tail -1'), /1024 /)
    assert.equal(await ok('volume', 'inspect', '-f', '{{.Labels.a}} {{.Options.o}}', 'made'), 'b size=1m')
    await refused(/error looking up volume plugin nobody/, 'run', '--rm', '--mount', 'type=volume,source=other,target=/m,volume-driver=nobody', 'busybox', 'true')
    await refused(/error looking up volume plugin nobody/, 'run', '--rm', '--volume-driver', 'nobody', '-v', 'other:/m', 'busybox', 'true')
    // What was made for a container that could not be made goes with it.
    await ok('create', '--name', 'taken', 'busybox', 'true')
    const before = await ok('volume', 'ls', '-q')
    await refused(/already in use/, 'create', '--name', 'taken', '-v', '/anonymous', 'busybox', 'true')
    assert.equal(await ok('volume', 'ls', '-q'), before)
    await ok('rm', 'taken')
  })
  it('bind-recursive: what is mounted below a bind', async () => {
    mkdirSync(`${daemon.home}/top/below`, { recursive: true })
    assert.equal((await exec('mount', ['-t', 'tmpfs', 'gtest-below', `${daemon.home}/top/below`])).code, 0)
    try {
      const tried = async (mode: string): Promise<string> => (await gantry('run', '--rm', '--mount', `type=bind,source=${daemon.home}/top,target=/t,readonly,${mode}`, 'busybox', 'sh', '-c', 'touch /t/x 2>/dev/null && echo top; touch /t/below/x 2>/dev/null && echo below; grep -c " /t/below " /proc/mounts')).out
      assert.equal(await tried('bind-recursive=enabled'), '1\n')
      assert.equal(await tried('bind-propagation=rprivate,bind-recursive=readonly'), '1\n')
      assert.equal(await tried('bind-recursive=writable'), 'below\n1\n')
      assert.equal(await tried('bind-recursive=disabled'), '0\n')
    } finally {
      await exec('umount', [`${daemon.home}/top/below`])
    }
  })
  it('update --mount-add and --mount-rm, while it runs and for later; nothing but what was put there is unmounted', async () => {
    const outside = `${daemon.home}/outside`
    mkdirSync(outside)
    writeFileSync(`${outside}/file`, 'outside\n')
    await ok('run', '-d', '--name', 'web', '-v', 'data:/v', 'busybox', 'sh', '-c', 'mkdir -p /deep/er; ln -s /deep/er /link; sleep 1000')
    const inside = (script: string): Promise<string> => gantry('exec', 'web', 'sh', '-c', script).then((ran) => `${ran.out}${ran.err}`)
    await ok('update', '--mount-add', `${outside}:/new/place:ro`, '--mount-add', `${outside}/file:/file`, '--mount-add', 'type=volume,source=data,target=/link,volume-subpath=sub', 'web')
    assert.match(await inside('cat /new/place/file /file /deep/er/file; touch /new/place/x'), /^outside\noutside\none\n.*Read-only/)
    await refused(/Duplicate mount point: \/file/, 'update', '--mount-add', `${outside}:/file`, 'web')
    await refused(/only binds and volumes can be added/, 'update', '--mount-add', 'type=tmpfs,target=/t', 'web')
    await refused(/nothing of container web is mounted on \/nowhere/, 'update', '--mount-rm', '/nowhere', 'web')
    await ok('restart', '-t', '0', 'web')
    assert.equal(await inside('cat /new/place/file /file'), 'outside\noutside\n')
    await ok('update', '--mount-rm', '/new/place', '--mount-rm', '/v', 'web')
    assert.equal(await inside('ls -A /new/place /v; cat /file'), '/new/place:\n\n/v:\noutside\n')
    assert.match(await ok('inspect', '-f', '{{json .HostConfig.Mounts}} {{json .HostConfig.Binds}}', 'web'), /^\[\{"BindOptions".*"Target":"\/file","Type":"bind".*\] \[\]$/)
    // The destination leads elsewhere meanwhile: to what hides a file of the host, which has to stay.
    await ok('update', '--mount-add', `${outside}:/trap/keys`, 'web')
    await ok('exec', 'web', 'sh', '-c', 'mv /trap /gone; ln -s /proc /trap')
    await refused(/what is mounted on \/trap\/keys is not what was put there/, 'update', '--mount-rm', '/trap/keys', 'web')
    assert.match(await inside('grep -c " /proc/keys " /proc/mounts'), /^1\n/)
    await ok('exec', 'web', 'sh', '-c', 'rm /trap; mv /gone /trap')
    await ok('update', '--mount-rm', '/trap/keys', 'web')
    await ok('stop', '-t', '0', 'web')
    await ok('update', '--mount-rm', '/file', '--mount-add', 'data:/again', 'web')
    await ok('start', 'web')
    assert.match(await inside('cat /again/sub/file /file'), /^one\n$/)
    assert.equal(readFileSync(`${outside}/file`, 'utf8'), 'outside\n')
  })
})
