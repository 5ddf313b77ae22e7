/** Volumes: options of the local driver, sharing, names, archives. */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { exec, ownClient, type TestDaemon, testDaemon, until } from '../harness.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'

describe('volumes', { skip }, () => {
  let daemon: TestDaemon
  const { gantry, ok } = ownClient(() => daemon)
  const mounted = (name: string): boolean => readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${daemon.home}/data/volumes/${name}/_data `)
  before(async () => {
    daemon = await testDaemon()
  })
  after(async () => {
    for (const name of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', name)
    for (const name of (await ok('volume', 'ls', '-q')).split('\n').filter((one) => one !== '')) await ok('volume', 'rm', name)
    await disposeClean(daemon)
  })
  it('type, o and device: mounted while a container has it, and no longer; a restart of the daemon does not matter', async () => {
    mkdirSync(`${daemon.home}/outside`)
    writeFileSync(`${daemon.home}/outside/file`, 'from outside')
    await ok('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', '-o', 'o=size=2m,uid=7', 'memory')
    await ok('volume', 'create', '-o', 'type=none', '-o', `device=${daemon.home}/outside`, '-o', 'o=bind,ro', 'bound')
    assert.equal(mounted('memory'), false)
    await ok('run', '-d', '--name', 'has', '-v', 'memory:/m', '-v', 'bound:/b', 'busybox', 'sleep', '1000')
    assert.equal(mounted('memory') && mounted('bound'), true)
    assert.match(await ok('exec', 'has', 'sh', '-c', 'df -k /m | tail -1; stat -c %u /m; cat /b/file; touch /b/x 2>&1 || true'), /2048 [\s\S]*\n7\nfrom outside[\s\S]*Read-only/)
    await daemon.kill()
    await daemon.start()
    await ok('run', '--rm', '-v', 'memory:/m', 'busybox', 'touch', '/m/second')
    assert.equal(await ok('exec', 'has', 'ls', '/m'), 'second')
    await ok('rm', '-f', 'has')
    assert.equal(mounted('memory') || mounted('bound'), false)
    assert.match((await gantry('volume', 'create', '-o', 'type=nfs', 'none')).err, /missing required option: "device"/)
    assert.match((await gantry('volume', 'create', '-o', 'colour=red', 'none')).err, /invalid option: "colour"/)
    await ok('volume', 'create', '-o', 'type=none', '-o', 'device=/nowhere', '-o', 'o=bind', 'broken')
    assert.match((await gantry('run', '--rm', '-v', 'broken:/x', 'busybox', 'true')).err, /failed to mount local volume: mount \/nowhere/)
    assert.equal(await ok('volume', 'inspect', '-f', '{{.Options.device}}', 'bound'), `${daemon.home}/outside`)
    assert.equal(readFileSync(`${daemon.home}/outside/file`, 'utf8'), 'from outside')
    // A volume that could be mounted does not stay so beside one that could not.
    assert.notEqual((await gantry('run', '--rm', '-v', 'bound:/b', '-v', 'broken:/x', 'busybox', 'true')).code, 0)
    assert.equal(mounted('bound'), false)
    await ok('volume', 'export', '-o', `${daemon.home}/bound.tar`, 'bound')
    assert.match((await exec('tar', ['tf', `${daemon.home}/bound.tar`])).out, /file/)
    assert.equal(mounted('bound'), false)
    // What a killed daemon left mounted is let go of, not deleted, with the volume.
    const left = await exec('mount', ['--bind', `${daemon.home}/outside`, `${daemon.home}/data/volumes/bound/_data`])
    assert.equal(left.code, 0, left.err)
    await ok('volume', 'rm', 'bound')
    assert.equal(mounted('bound'), false)
    assert.equal(readFileSync(`${daemon.home}/outside/file`, 'utf8'), 'from outside')
  })
  it('--volumes-from: the same volumes, with modes; the container’s own come first', async () => {
    await ok('run', '-d', '--name', 'source', '-v', '/anonymous', '-v', 'named:/named', 'busybox', 'sh', '-c', 'echo one >/anonymous/f; echo two >/named/f; sleep 1000')
    assert.equal(await ok('run', '--rm', '--volumes-from', 'source', 'busybox', 'cat', '/anonymous/f', '/named/f'), 'one\ntwo')
    assert.match((await gantry('run', '--rm', '--volumes-from', 'source:ro', 'busybox', 'touch', '/named/x')).err, /Read-only file system/)
    assert.equal(await ok('run', '--rm', '--volumes-from', 'source', '-v', 'other:/named', 'busybox', 'ls', '/named'), '')
    assert.match((await gantry('create', '--volumes-from', 'nobody', 'busybox')).err, /No such container: nobody/)
    assert.match((await gantry('create', '--volumes-from', 'source:sideways', 'busybox')).err, /invalid volumes-from mode: sideways/)
    assert.match((await gantry('volume', 'rm', 'named')).err, /volume is in use/)
    await ok('rm', '-f', '-v', 'source')
    assert.equal(await ok('volume', 'ls', '-q', '--filter', 'name=named'), 'named')
  })
  it('rename, export, import', async () => {
    await ok('run', '--name', 'user', '-v', 'before:/v', 'busybox', 'sh', '-c', 'echo kept >/v/f; chmod 640 /v/f; chown 5:6 /v/f')
    await ok('volume', 'rename', 'before', 'after')
    assert.match((await gantry('volume', 'inspect', 'before')).err, /no such volume/)
    assert.equal(await ok('inspect', '-f', '{{(index .Mounts 0).Name}}', 'user'), 'after')
    await ok('start', '-a', 'user')
    await ok('volume', 'export', '-o', `${daemon.home}/v.tar`, 'after')
    assert.match((await exec('tar', ['tvf', `${daemon.home}/v.tar`])).out, /-rw-r----- 5\/6 .* f/)
    await ok('volume', 'create', 'copy')
    await ok('volume', 'import', 'copy', `${daemon.home}/v.tar`)
    assert.equal(await ok('run', '--rm', '-v', 'copy:/v', 'busybox', 'sh', '-c', 'cat /v/f; stat -c "%a %u:%g" /v/f'), 'kept\n640 5:6')
    assert.match((await gantry('volume', 'rename', 'after', 'copy')).err, /volume name copy is already in use/)
    await ok('run', '-d', '--name', 'busy', '-v', 'copy:/v', 'busybox', 'sleep', '1000')
    assert.match((await gantry('volume', 'rename', 'copy', 'third')).err, /in use by a running container/)
  })
  it('a plugin’s volume: made, mounted while somebody has it, and removed by the plugin', async () => {
    const name = `gtest-${process.pid}`
    mkdirSync('/run/docker/plugins', { recursive: true })
    mkdirSync(`${daemon.home}/plugin`)
    writeFileSync(`${daemon.home}/plugin/file`, 'from the plugin')
    const calls: string[] = []
    const server = createServer((request, response) => {
      calls.push((request.url ?? '').replace(/^.*\./, ''))
      request.resume()
      response.end(JSON.stringify(request.url === '/Plugin.Activate' ? { Implements: ['VolumeDriver'] } : { Err: '', Mountpoint: `${daemon.home}/plugin` }))
    })
    await new Promise<void>((resolve) => server.listen(`/run/docker/plugins/${name}.sock`, resolve))
    try {
      await ok('volume', 'create', '-d', name, '-o', 'a=b', 'theirs')
      assert.equal(await ok('volume', 'ls', '--filter', `driver=${name}`, '-q'), 'theirs')
      assert.equal(await ok('run', '--rm', '-v', 'theirs:/v', 'busybox', 'cat', '/v/file'), 'from the plugin')
      await ok('run', '-d', '--name', 'has', '-v', 'theirs:/v', 'busybox', 'sleep', '1000')
      assert.equal(await ok('inspect', '-f', '{{(index .Mounts 0).Driver}}', 'has'), name)
      assert.equal(mounted('theirs'), true)
      await ok('rm', '-f', 'has')
      assert.equal(mounted('theirs'), false)
      await ok('volume', 'rm', 'theirs')
      assert.deepEqual(calls.filter((call) => call !== 'Activate'), ['Create', 'Mount', 'Unmount', 'Mount', 'Unmount', 'Remove'])
      assert.match((await gantry('volume', 'create', '-d', 'nobody', 'xx')).err, /error looking up volume plugin nobody: plugin "nobody" not found/)
    } finally {
      server.close()
    }
  })
  it('update --publish-add and --publish-rm change what a running container publishes, and what it will', async () => {
    await ok('run', '-d', '--name', 'web', '-p', '8070:80', 'busybox', 'sh', '-c', 'mkdir /w; echo hello >/w/index.html; httpd -f -p 80 -h /w')
    const get = (port: number): Promise<string> => daemon.inside('/bin/busybox', 'timeout', '2', 'wget', '-q', '-O-', `http://127.0.0.1:${port}`).then((text) => text.trim(), () => '')
    await until('it serves', async () => (await get(8070)) === 'hello')
    assert.equal(await get(8071), '')
    await ok('update', '--publish-add', '8071:80', 'web')
    assert.deepEqual([await get(8070), await get(8071)], ['hello', 'hello'])
    await ok('update', '--publish-rm', '80', '--publish-add', '8072:80', 'web')
    assert.deepEqual([await get(8070), await get(8071), await get(8072)], ['', '', 'hello'])
    assert.match((await gantry('update', '--publish-rm', '81', 'web')).err, /port 81\/tcp is not published/)
    await ok('restart', '-t', '0', 'web')
    assert.match(await ok('port', 'web'), /^80\/tcp -> 0\.0\.0\.0:8072/)
  })
})
