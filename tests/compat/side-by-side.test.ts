/** The genuine client drives dockerd and Gantry through the same steps: what it prints is the same, byte for byte, but for masks and what `differences.table.ts` justifies. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { it } from 'node:test'
import { dockerClient, exec, root, testDaemon } from '../harness.ts'
import { JUSTIFIED } from './differences.table.ts'
import { differences, drive } from './drive.ts'
import { STEPS } from './steps.table.ts'

const peers = process.env['GANTRY_PEERS'] ?? ''
const client = dockerClient()
const skip = process.getuid?.() !== 0 ? 'needs root' : client === undefined ? 'no genuine docker client on this machine' : existsSync(`${peers}/start-dockerd`) ? false : 'needs dockerd in $GANTRY_PEERS'
const NAME = 'gtestside'

it('the same steps against dockerd and Gantry', { skip }, async () => {
  const work = mkdtempSync('/tmp/gtest-side-')
  const daemon = await testDaemon(['--bip', '172.17.0.1/16'])
  const docker = execFileSync(`${peers}/start-dockerd`, [NAME], { encoding: 'utf8' }).trim()
  const pid = Number(readFileSync(`${peers}/run/${NAME}/pid`, 'utf8'))
  try {
    assert.equal((await exec(`${root}/build/node`, [`${root}/build/gantry.cjs`, '-H', daemon.host, 'save', '-o', `${work}/busybox.tar`, 'busybox'])).code, 0)
    assert.equal((await exec(client ?? '', ['-H', docker, 'load', '-i', `${work}/busybox.tar`])).code, 0)
    const [theirs, ours] = await Promise.all([
      drive([client ?? ''], docker, [[`${peers}/run/${NAME}/root`, 'DATA'], [`${peers}/run/${NAME}/exec`, 'EXEC']], `${work}/theirs`),
      drive([client ?? ''], daemon.host, [[`${daemon.home}/data`, 'DATA'], [`${daemon.home}/x`, 'EXEC']], `${work}/ours`),
    ])
    if (process.env['SIDE_BY_SIDE_OUT'] !== undefined) writeFileSync(`${process.env['SIDE_BY_SIDE_OUT']}.steps`, JSON.stringify(STEPS.map((step, index) => [step, theirs[index], ours[index]])))
    const unjustified = differences(theirs, ours, JUSTIFIED)
    if (process.env['SIDE_BY_SIDE_OUT'] !== undefined) writeFileSync(process.env['SIDE_BY_SIDE_OUT'], JSON.stringify(differences(theirs, ours, []), undefined, 1))
    assert.deepEqual(unjustified.map((one) => one.step), [], `${unjustified.length} of ${STEPS.length} steps differ, dockerd’s first:\n${JSON.stringify(unjustified, undefined, 1)}`)
  } finally {
    await daemon.dispose()
    process.kill(pid, 'SIGTERM')
    for (let turn = 0; turn < 100 && existsSync(`/proc/${pid}`); turn++) await new Promise((resolve) => setTimeout(resolve, 100))
    execFileSync('ip', ['netns', 'del', `peer-${NAME}`])
    // What dockerd leaves mounted.
    const left = readFileSync('/proc/self/mountinfo', 'utf8').split('\n').map((line) => line.split(' ')[4] ?? '').filter((path) => path.startsWith(`${peers}/run/${NAME}/`))
    for (const path of left.reverse()) execFileSync('umount', ['-l', path])
    rmSync(`${peers}/run/${NAME}`, { recursive: true, force: true })
    rmSync(work, { recursive: true })
  }
})
