/** Dockerfiles written for the purpose: Gantry through the classic door and through BuildKit's, dockerd's classic builder and BuildKit come to the same files and the same configuration, but for what `build/differences.table.ts` justifies. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { startDockerd } from '../../bench/engines.ts'
import { dockerClient, exec, peer, peers, root, type TestDaemon, testDaemon } from '../harness.ts'
import { CASES } from './build/cases.table.ts'
import { JUSTIFIED } from './build/differences.table.ts'
import { PRACTICE } from './build/practice.table.ts'
import { buildCase, type Builder, type BuildResult, writeContext } from './build/result.ts'

const client = dockerClient()
const buildx = peer('docker-buildx')
const skip = process.getuid?.() !== 0 ? 'needs root' : client === undefined ? 'no genuine docker client on this machine' : buildx === undefined ? 'needs dockerd and buildx in $GANTRY_PEERS' : false
const only = process.env['GANTRY_CASES'] === undefined ? undefined : new RegExp(process.env['GANTRY_CASES'])

/** JSON with the keys of objects in their order. */
function sorted(value: unknown): string | undefined {
  return JSON.stringify(value, (_, one: unknown) => (typeof one === 'object' && one !== null && !Array.isArray(one) ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1))) : one))
}

/** Fields and files that differ. */
function differences(theirs: BuildResult, ours: BuildResult): Readonly<Record<string, readonly [unknown, unknown]>> {
  const all: Record<string, readonly [unknown, unknown]> = {}
  if (theirs.failed || ours.failed) return theirs.failed === ours.failed ? {} : { failed: [theirs.failed ? theirs.said.slice(-600) : false, ours.failed ? ours.said.slice(-600) : false] }
  for (const [what, first, second] of [['config', theirs.config, ours.config], ['file', theirs.files, ours.files]] as const) {
    for (const key of new Set([...Object.keys(first), ...Object.keys(second)])) if (sorted(first[key]) !== sorted(second[key])) all[`${what} ${key}`] = [first[key], second[key]]
  }
  return all
}

describe('Dockerfiles beside dockerd', { skip }, () => {
  let work = ''
  let daemon: TestDaemon
  let docker: Awaited<ReturnType<typeof startDockerd>>
  const builders: Record<'ours' | 'door' | 'classic' | 'buildkit', Builder> = {} as never
  before(async () => {
    work = mkdtempSync('/tmp/gtest-build-')
    daemon = await testDaemon()
    docker = await startDockerd(peers, work, 'gtestbuild')
    mkdirSync(`${work}/config/cli-plugins`, { recursive: true })
    symlinkSync(buildx ?? '', `${work}/config/cli-plugins/docker-buildx`)
    const base = { client: [client ?? ''], env: { DOCKER_BUILDKIT: '0', DOCKER_CONFIG: `${work}/config` }, build: ['build'] }
    builders.ours = { ...base, host: daemon.host }
    builders.door = { ...base, host: daemon.host, env: { ...base.env, DOCKER_BUILDKIT: '1' }, build: ['build', '--progress', 'plain'] }
    builders.classic = { ...base, host: `unix://${docker.socket}` }
    builders.buildkit = { ...base, host: `unix://${docker.socket}`, env: { ...base.env, DOCKER_BUILDKIT: '1' }, build: ['build', '--progress', 'plain'] }
    assert.equal((await exec(`${root}/build/node`, [`${root}/build/gantry.cjs`, '-H', daemon.host, 'save', '-o', `${work}/busybox.tar`, 'busybox'])).code, 0)
    assert.equal((await exec(client ?? '', ['-H', `unix://${docker.socket}`, 'load', '-i', `${work}/busybox.tar`])).code, 0)
  })
  after(async () => {
    await docker.stop()
    await daemon.dispose()
    rmSync(work, { recursive: true })
  })
  for (const [index, one] of [...CASES, ...PRACTICE].entries()) {
    if (only?.test(one.name) === false) continue
    it(one.name, async () => {
      const folder = `${work}/${index}`
      writeContext(folder, one)
      const tag = `case:${index}`
      const [door, buildkit] = await Promise.all([buildCase(builders.door, one, folder, tag), buildCase(builders.buildkit, one, folder, tag).catch((error: unknown) => error)])
      if (buildkit instanceof Error) throw buildkit
      const [ours, classic] = await Promise.all([buildCase(builders.ours, one, folder, tag), one.newer === true ? undefined : buildCase(builders.classic, one, folder, tag)])
      for (const { failed, said } of [ours, door]) {
        if (one.fails === undefined) assert.equal(failed, false, said)
        else assert.match(said, one.fails)
      }
      const found: Record<string, unknown> = {}
      const compare = (name: string, theirs: BuildResult, own: BuildResult): void => {
        for (const [what, pair] of Object.entries(differences(theirs, own))) if (!JUSTIFIED.some((rule) => rule.by.test(name) && rule.case.test(one.name) && rule.what.test(what))) found[`${name} ${what}`] = pair
      }
      compare('buildkit', buildkit as BuildResult, door)
      if (classic !== undefined) compare('classic', classic, ours)
      if (process.env['GANTRY_CASES_OUT'] !== undefined) writeFileSync(`${process.env['GANTRY_CASES_OUT']}/${index}.json`, JSON.stringify({ name: one.name, found, ours: ours.history, buildkit: (buildkit as BuildResult).history }, undefined, 1))
      assert.deepEqual(found, {})
    })
  }
})
