/** Devices that are described on the host (Container Device Interface): `--device vendor/class=name` and `--gpus`. */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { dockerClient, exec, ownClient, type TestDaemon, testDaemon } from '../harness.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false

describe('devices by description', { skip }, () => {
  let daemon: TestDaemon
  let home = ''
  const { gantry, ok } = ownClient(() => daemon)
  before(async () => {
    daemon = await testDaemon([], async (place) => {
      home = place.home
      mkdirSync(`${home}/cdi`)
      mkdirSync(`${home}/lib`)
      writeFileSync(`${home}/lib/driver`, 'the driver\n')
      writeFileSync(`${home}/cdi/card.json`, JSON.stringify({
        cdiVersion: '0.6.0', kind: 'example.com/gpu', containerEdits: { env: ['CARDS=yes'], mounts: [{ hostPath: `${home}/lib`, containerPath: '/usr/lib/card', options: ['ro', 'rbind'] }] },
        devices: [
          { name: '0', containerEdits: { env: ['CARD=0'], deviceNodes: [{ path: '/dev/card0', hostPath: '/dev/zero', permissions: 'r' }], additionalGids: [4242], hooks: [{ hookName: 'createContainer', path: '/bin/sh', args: ['sh', '-c', `cat > ${home}/hooked`], env: ['PATH=/bin:/usr/bin'] }] } },
          { name: '1', containerEdits: { env: ['CARD=1'], deviceNodes: [{ path: '/dev/card1', hostPath: '/dev/loop-control', permissions: 'r' }] } },
        ],
      }))
      writeFileSync(`${home}/cdi/net.yaml`, 'cdiVersion: "0.5.0"\nkind: example.com/net\ndevices:\n  - name: fast\n    containerEdits:\n      deviceNodes:\n        - path: /dev/fast\n          hostPath: /dev/null\n          fileMode: 384\n')
      writeFileSync(`${home}/cdi/broken.json`, '{"cdiVersion": "x"}')
      return ['--cdi-spec-dir', `${home}/cdi`]
    })
  })
  after(() => disposeClean(daemon))

  it('brings nodes, mounts, environment, groups and hooks', async () => {
    const out = await ok('run', '--rm', '--device', 'example.com/gpu=0', '--device', 'example.com/gpu=1', '--device', 'example.com/net=fast', 'busybox', 'sh', '-c', 'echo $CARDS; cat /usr/lib/card/driver; head -c 3 /dev/card0 | wc -c; echo x > /dev/fast; stat -c %a /dev/fast; id -G; (echo x > /dev/card1) 2>&1; true')
    assert.match(out, /^yes\nthe driver\n3\n600\n.*4242.*\n.*(not permitted|denied)/)
    const state = JSON.parse(readFileSync(`${home}/hooked`, 'utf8')) as { status: string }
    assert.equal(state.status, 'creating')
  })
  it('--gpus: all, so many, by name', async () => {
    assert.equal(await ok('run', '--rm', '--gpus', 'all', 'busybox', 'sh', '-c', 'ls /dev | grep card'), 'card0\ncard1')
    assert.equal(await ok('run', '--rm', '--gpus', '1', 'busybox', 'sh', '-c', 'ls /dev | grep card'), 'card0')
    assert.equal(await ok('run', '--rm', '--gpus', 'device=1', 'busybox', 'sh', '-c', 'ls /dev | grep card'), 'card1')
  })
  it('what is not described is refused in Docker’s words, and nothing is left', async () => {
    assert.match((await gantry('run', '--rm', '--device', 'example.com/gpu=9', 'busybox', 'true')).err, /CDI device injection failed: unresolvable CDI devices example\.com\/gpu=9/)
    assert.match((await gantry('run', '--rm', '--gpus', 'driver=other.com,count=1', 'busybox', 'true')).err, /could not select device driver "other\.com" with capabilities: \[\[gpu\]\]/)
    assert.equal(await ok('ps', '-aq'), '')
  })
  const docker = dockerClient()
  it('the genuine client asks for them the same way', { skip: docker === undefined ? 'needs the docker client' : false }, async () => {
    const ran = await exec(docker ?? '', ['-H', daemon.host, 'run', '--rm', '--gpus', 'all', '--device', 'example.com/net=fast', 'busybox', 'sh', '-c', 'ls /dev | grep -E "card|fast"'])
    assert.equal(ran.out, 'card0\ncard1\nfast\n', ran.err)
  })
})
