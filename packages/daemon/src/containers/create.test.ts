import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { it } from 'node:test'
import { detachFilter, parseDetachKeys } from './attach.ts'
import { mergeConfig } from './create.ts'
import { decodeConfig } from './request/decode-config.ts'
import { decodeHostConfig } from './request/decode-host-config.ts'
import { withoutUnsupported } from './request/limits.ts'
import { collectMounts, parseBind } from './mounts/parse.ts'
import { settleResources } from './spec/resources.ts'
import { settleSecurity, settleSysctls } from './spec/security.ts'
import { logSettings } from './log/settings.ts'
import { checkHostConfig, parseSignal } from './request/validate.ts'

const host = (fields: object) => decodeHostConfig({ ...fields })

it('mergeConfig() lets the user’s command win and keeps the image’s entrypoint', () => {
  const image = { Cmd: ['serve'], Entrypoint: ['/start'], Env: ['PATH=/bin', 'A=image'], User: 'app', Labels: { a: '1' } }
  const merged = mergeConfig(decodeConfig({ Cmd: ['other'], Env: ['A=user'], Labels: { b: '2' } }), image)
  assert.deepEqual([merged.Cmd, merged.Entrypoint, merged.Env, merged.User, merged.Labels], [['other'], ['/start'], ['A=user', 'PATH=/bin'], 'app', { a: '1', b: '2' }])
  assert.deepEqual(mergeConfig(decodeConfig({ Entrypoint: ['/own'] }), image).Cmd, null)
  assert.deepEqual(mergeConfig(decodeConfig({ Entrypoint: [''], Cmd: ['sh'] }), image).Entrypoint, null)
})
it('checkHostConfig() refuses what cannot be honoured, by name', () => {
  assert.throws(() => checkHostConfig(host({ Memory: 1024 })), /Minimum memory limit/)
  assert.throws(() => checkHostConfig(host({ CpusetCpus: '0-4294967295' })), /Invalid value/)
  assert.throws(() => checkHostConfig(host({ StorageOpt: { color: 'red' } })), /unknown storage option "color": expected size/)
  assert.throws(() => checkHostConfig(host({ StorageOpt: { size: 'much' } })), /invalid size: 'much'/)
  assert.throws(() => checkHostConfig(host({ AutoRemove: true, RestartPolicy: { Name: 'always' } })), /AutoRemove/)
  assert.throws(() => logSettings({ Type: 'json-file', Config: { colour: 'red' } }), /unknown log opt 'colour'/)
})
it('decodeHostConfig() names the field of a wrong type', () => assert.throws(() => host({ Memory: '64m' }), /Memory: expected a whole number/))
it('parseSignal() reads names and numbers', () => {
  assert.deepEqual(['SIGTERM', 'term', '9', 'RTMIN+1'].map(parseSignal), [15, 15, 9, 35])
  assert.throws(() => parseSignal('SIGWHAT'), /invalid signal: SIGWHAT/)
})
it('parseBind() refuses / and /proc, and tells binds from volumes', () => {
  assert.equal(parseBind('/a:/b:ro').readOnly, true)
  assert.equal(parseBind('name:/b').type, 'volume')
  for (const bad of ['/a:/', '/a:/proc/x', 'a:b', '/a:/b:sideways', '/a:/b/../../proc']) assert.throws(() => parseBind(bad), /invalid/, bad)
})
it('collectMounts() lets the user win over the image, and refuses doubles', () => {
  assert.deepEqual(collectMounts(host({ Binds: ['/a:/data'] }), ['/data', '/other'], []).map(({ mount }) => mount.destination), ['/data', '/other'])
  assert.throws(() => collectMounts(host({ Binds: ['/a:/data', '/b:/data'] }), [], []), /Duplicate mount point/)
})
it('settleSysctls() allows only what belongs to the container (CVE-2022-0811)', () => {
  for (const key of ['kernel.core_pattern', 'net.ipv4.x/../../kernel.core_pattern', 'kernel.shm_rmid_forced+net']) assert.throws(() => settleSysctls(host({ Sysctls: { [key]: '1' } }), true, true, false), /not allowed/)
})
it('settleSecurity() drops everything when asked', () => {
  assert.deepEqual(settleSecurity(host({ CapDrop: ['ALL'] }), []).capabilities, [])
  assert.equal(settleSecurity(host({ SecurityOpt: ['seccomp=unconfined', 'no-new-privileges'] }), []).noNewPrivileges, true)
  assert.throws(() => settleSecurity(host({ SecurityOpt: ['magic=on'] }), []), /invalid --security-opt/)
})
it('settleResources() passes on only what was asked for', () => assert.deepEqual(settleResources(host({ NanoCpus: 500_000_000 }), []).cpu, { quota: 50_000, period: 100_000 }))
it('detachFilter() swallows the keys, and gives back what only began like them', async () => {
  let detached = false
  const filter = detachFilter(parseDetachKeys(''), () => {
    detached = true
  })
  const out = await Readable.from([Buffer.from([1, 16]), Buffer.from([2, 16, 16, 17])]).pipe(filter).toArray()
  assert.deepEqual([Buffer.concat(out), detached], [Buffer.from([1, 16, 2, 16]), true])
  assert.throws(() => parseDetachKeys('ctrl-1'), /Invalid detach keys/)
})
it('withoutUnsupported() discards with a warning, and refuses what a container would not be safe without', () => {
  const kernel = { version: 2, supports: (file: string) => file === 'memory.max' || file === 'pids.max' } as const
  const asked = host({ Memory: 1 << 26, MemorySwap: 1 << 27, OomKillDisable: true, PidsLimit: 5, BlkioWeight: 300 })
  const left = withoutUnsupported(asked, kernel)
  assert.deepEqual([left.hostConfig.MemorySwap, left.hostConfig.OomKillDisable, left.hostConfig.PidsLimit, left.hostConfig.BlkioWeight], [0, null, 5, 0])
  assert.equal(left.warnings.length, 3)
  assert.throws(() => withoutUnsupported(host({ NanoCpus: 1e9 }), kernel), /NanoCPUs can not be set/)
  assert.throws(() => withoutUnsupported(host({ CpuRealtimeRuntime: 1000 }), kernel), /CPU real-time scheduler/)
})
it('logSettings() rotates unless it is told not to', () => {
  const settle = (Config: Readonly<Record<string, string>>) => {
    const { kept, maxBytes, maxFiles } = logSettings({ Type: 'json-file', Config })
    return [kept, maxBytes, maxFiles]
  }
  assert.deepEqual(settle({}), ['json', 100 << 20, 5])
  assert.deepEqual(settle({ 'max-size': '1m' }), ['json', 1 << 20, 1])
  assert.deepEqual(settle({ 'max-size': '-1' }), ['json', 0, 1])
  assert.throws(() => settle({ 'max-file': '3' }), /max-file cannot be set without max-size/)
})
