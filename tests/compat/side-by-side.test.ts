/** The genuine client drives dockerd and Gantry through the same steps: what it prints is the same, byte for byte, but for masks and what `differences.table.ts` justifies. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { it } from 'node:test'
import { dockerClient, exec, root, testDaemon } from '../harness.ts'
import { JUSTIFIED } from './differences.table.ts'
import { mask, splitStep } from './masks.ts'
import { STEPS } from './steps.table.ts'

const peers = process.env['GANTRY_PEERS'] ?? ''
const client = dockerClient()
const skip = process.getuid?.() !== 0 ? 'needs root' : client === undefined ? 'no genuine docker client on this machine' : existsSync(`${peers}/start-dockerd`) ? false : 'needs dockerd in $GANTRY_PEERS'
const NAME = 'gtestside'

/** What a client said, masked. */
type Said = { readonly code: number; readonly out: string; readonly err: string }

async function drive(host: string, places: readonly (readonly [string, string])[], scratch: string): Promise<readonly Said[]> {
  const said: Said[] = []
  mkdirSync(scratch)
  let begun = ''
  for (const step of STEPS) {
    if (step === '!begin') {
      begun = (Date.now() / 1000).toFixed(3)
      said.push({ code: 0, out: '', err: '' })
      continue
    }
    const words = splitStep(step).map((word) => word.replace('$SCRATCH', scratch).replace('$BEGIN', begun).replace('$NOW', String(Math.floor(Date.now() / 1000) + 1)))
    const ran = await exec(client ?? '', ['-H', host, ...words], { env: { ...process.env, DOCKER_CONFIG: `${scratch}/config` } })
    const all = [...places, [scratch, 'SCRATCH'] as const, [host, 'HOST'] as const]
    said.push({ code: ran.code, out: mask(ran.out, all), err: mask(ran.err, all) })
  }
  return said
}

it('the same steps against dockerd and Gantry', { skip }, async () => {
  const work = mkdtempSync('/tmp/gtest-side-')
  const daemon = await testDaemon(['--bip', '172.17.0.1/16'])
  const docker = execFileSync(`${peers}/start-dockerd`, [NAME], { encoding: 'utf8' }).trim()
  const pid = Number(readFileSync(`${peers}/run/${NAME}/pid`, 'utf8'))
  try {
    assert.equal((await exec(`${root}/build/node`, [`${root}/build/gantry.cjs`, '-H', daemon.host, 'save', '-o', `${work}/busybox.tar`, 'busybox'])).code, 0)
    assert.equal((await exec(client ?? '', ['-H', docker, 'load', '-i', `${work}/busybox.tar`])).code, 0)
    const [theirs, ours] = await Promise.all([
      drive(docker, [[`${peers}/run/${NAME}/root`, 'DATA'], [`${peers}/run/${NAME}/exec`, 'EXEC']], `${work}/theirs`),
      drive(daemon.host, [[`${daemon.home}/data`, 'DATA'], [`${daemon.home}/x`, 'EXEC']], `${work}/ours`),
    ])
    if (process.env['SIDE_BY_SIDE_OUT'] !== undefined) writeFileSync(`${process.env['SIDE_BY_SIDE_OUT']}.steps`, JSON.stringify(STEPS.map((step, index) => [step, theirs[index], ours[index]])))
    const differences = STEPS.flatMap((step, index) => {
      const [a, b] = [theirs[index], ours[index]]
      if (a === undefined || b === undefined || (a.code === b.code && a.out === b.out && a.err === b.err)) return []
      return [{ step, dockerd: a, gantry: b }]
    })
    const unjustified = differences.filter(({ step }) => !JUSTIFIED.some(([pattern]) => pattern.test(step)))
    if (process.env['SIDE_BY_SIDE_OUT'] !== undefined) writeFileSync(process.env['SIDE_BY_SIDE_OUT'], JSON.stringify(differences, undefined, 1))
    assert.deepEqual(unjustified.map((one) => one.step), [], `${unjustified.length} of ${STEPS.length} steps differ:\n${JSON.stringify(unjustified, undefined, 1)}`)
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
