/** Our own client and the genuine one go through the same steps on daemons of ours: what they print is the same, byte for byte, but for masks and what is listed here. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { it } from 'node:test'
import { dockerClient, root, testDaemon } from '../harness.ts'
import { differences, drive, type Said } from './drive.ts'
import { STEPS } from './steps.table.ts'

const client = dockerClient()
/** What the genuine client of today speaks at most: ours would take the newest. */
const GENUINE_VERSION = '1.50'
const skip = process.getuid?.() !== 0 ? 'needs root' : client === undefined ? 'no genuine docker client on this machine' : false

/** Steps whose output differs from the genuine client's, and why that is right. */
const JUSTIFIED: readonly (readonly [step: RegExp, reason: string])[] = [
  [/^run .*--platform/, 'the genuine client of this version goes to pull; ours tells what is there'],
  [/^inspect -f "\{\{json \.Config\}\}" imported/, 'the genuine client leaves out what is empty'],
  [/^network create .*--gateway 10\.79/, 'the genuine client looks at gateways itself; ours leaves it to the daemon'],
  [/^network inspect/, 'each daemon has IPv6 addresses of its own'],
  [/^cp .*\/nosuch\/dir/, 'what the genuine client says of its own archive depends on which end is first'],
  [/^system df$/, 'ours also says what else takes space'],
  [/^checkpoint ls/, 'our daemon has checkpoints without being experimental'],
]

it('the same steps with the genuine client and with our own', { skip }, async () => {
  const work = mkdtempSync('/tmp/gtest-own-')
  const daemons = await Promise.all([testDaemon(['--bip', '172.17.0.1/16']), testDaemon(['--bip', '172.17.0.1/16'])])
  try {
    const clients = [[client ?? ''], [`${root}/build/node`, '--', `${root}/build/gantry.cjs`]] as const
    const [theirs = [], ours = []] = await Promise.all(daemons.map((daemon, index) => drive(clients[index] ?? [], daemon.host, [[daemon.home, 'HOME'], ['gantry', 'docker'], ['Gantry', 'Docker']], `${work}/${index}`, { DOCKER_API_VERSION: GENUINE_VERSION })))
    // The width of a column depends on ids and times; a layer's folder is made up.
    const narrow = (said: readonly Said[]): readonly Said[] => said.map((one) => ({ ...one, out: one.out.replace(/(\S) {2,}(?=\S)/g, '$1  ').replace(/\b[0-9a-f]{26}\b/g, 'LAYER') }))
    const found = differences(narrow(theirs), narrow(ours), JUSTIFIED)
    assert.deepEqual(found.map((one) => one.step), [], `${found.length} of ${STEPS.length} steps differ, the genuine client’s first:\n${JSON.stringify(found, undefined, 1)}`)
  } finally {
    for (const daemon of daemons) await daemon.dispose()
    rmSync(work, { recursive: true })
  }
})
