/** The genuine client drives dockerd and Gantry through the same steps: what it prints is the same, byte for byte, but for masks and what `differences.table.ts` justifies. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { it } from 'node:test'
import { startDockerd } from '../../bench/engines.ts'
import { dockerClient, exec, peer, peers, root, testDaemon } from '../harness.ts'
import { JUSTIFIED } from './differences.table.ts'
import { differences, drive } from './drive.ts'
import { STEPS } from './steps.table.ts'

const client = dockerClient()
/** The major version whose differences are justified. */
const MAJOR = '28'
const dockerd = peer('dockerd')
const version = dockerd === undefined ? '' : /version (\d+)/.exec((await exec(dockerd, ['--version'])).out)?.[1]
const skip = process.getuid?.() !== 0 ? 'needs root' : client === undefined ? 'no genuine docker client on this machine' : dockerd === undefined ? 'needs dockerd in $GANTRY_PEERS' : version !== MAJOR ? `dockerd is of version ${version}: what is justified was seen with ${MAJOR}` : false

it('the same steps against dockerd and Gantry', { skip }, async () => {
  const work = mkdtempSync('/tmp/gtest-side-')
  const daemon = await testDaemon(['--bip', '172.17.0.1/16'])
  const docker = await startDockerd(peers, work, 'gtestside')
  const host = `unix://${docker.socket}`
  try {
    assert.equal((await exec(`${root}/build/node`, [`${root}/build/gantry.cjs`, '-H', daemon.host, 'save', '-o', `${work}/busybox.tar`, 'busybox'])).code, 0)
    assert.equal((await exec(client ?? '', ['-H', host, 'load', '-i', `${work}/busybox.tar`])).code, 0)
    const [theirs, ours] = await Promise.all([
      drive([client ?? ''], host, [[`${work}/docker/root`, 'DATA'], [`${work}/docker/exec`, 'EXEC']], `${work}/theirs`),
      drive([client ?? ''], daemon.host, [[`${daemon.home}/data`, 'DATA'], [`${daemon.home}/x`, 'EXEC']], `${work}/ours`),
    ])
    const unjustified = differences(theirs, ours, JUSTIFIED)
    assert.deepEqual(unjustified.map((one) => one.step), [], `${unjustified.length} of ${STEPS.length} steps differ, dockerd’s first:\n${JSON.stringify(unjustified, undefined, 1)}`)
  } finally {
    await daemon.dispose()
    await docker.stop()
    rmSync(work, { recursive: true })
  }
})
