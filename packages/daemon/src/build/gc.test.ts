import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { BuildCacheRow } from '../jobs/build.ts'
import { collectible, defaultRules, type GcRule, readEntitlements, readGc } from './gc.ts'

const HOUR = 3600 * 1000
const NOW = 1e12
const row = (id: string, bytes: number, hours: number, more: Partial<BuildCacheRow> = {}): BuildCacheRow => ({ id, type: 'regular', description: id, inUse: false, chainId: '', bytes, createdAt: 0, usedAt: NOW - hours * HOUR, uses: 1, ...more })
const rule = (more: Partial<GcRule>): GcRule => ({ types: [], unusedMs: 0, reservedBytes: 0, maxUsedBytes: 0, minFreeBytes: 0, ...more })
const ids = (one: GcRule, rows: readonly BuildCacheRow[], freeBytes = 1e9): readonly string[] => [...collectible(one, rows, { now: NOW, freeBytes })]
const ROWS = [row('new', 100, 1), row('old', 100, 100), row('older', 100, 200, { type: 'exec.cachemount' }), row('busy', 100, 300, { inUse: true })]

describe('the build cache looks after itself', () => {
  it('the longest unused goes first, no more than has to, and nothing that is in use', () => {
    assert.deepEqual(ids(rule({ maxUsedBytes: 300 }), ROWS), ['older'])
    assert.deepEqual(ids(rule({ maxUsedBytes: 150 }), ROWS), ['older', 'old', 'new'])
    assert.deepEqual(ids(rule({ maxUsedBytes: 1000 }), ROWS), [])
    assert.deepEqual(ids(rule({ unusedMs: 48 * HOUR }), ROWS), ['older', 'old'])
    assert.deepEqual(ids(rule({ types: ['exec.cachemount'] }), ROWS), ['older'])
    assert.deepEqual(ids(rule({ minFreeBytes: 1100 }), ROWS, 1000), ['older'])
    assert.deepEqual(ids(rule({ minFreeBytes: 5000, reservedBytes: 250 }), ROWS, 1000), ['older', 'old'])
  })
  it('rules are read as dockerd has them', () => {
    assert.deepEqual(readGc(undefined, 1000), defaultRules(1000))
    assert.equal(readGc({ gc: { enabled: false } }, 1000), undefined)
    assert.deepEqual(readGc({ gc: { policy: [{ keepStorage: '10MB', filter: ['unused-for=2h', 'type=regular'] }, { maxUsedSpace: '50%' }] } }, 1000), [rule({ reservedBytes: 10 << 20, unusedMs: 2 * HOUR, types: ['regular'] }), rule({ maxUsedBytes: 500 })])
    assert.equal(readGc({ gc: { defaultReservedSpace: '5%' } }, 1000)?.at(-1)?.reservedBytes, 50)
    assert.throws(() => readGc({ gc: { policy: [{ filter: ['nonsense'] }] } }, 1), /builder\.gc\.policy\[0\]\.filter: "nonsense": expected unused-for=DURATION/)
    assert.deepEqual([[...readEntitlements(undefined)], [...readEntitlements({ entitlements: { 'network-host': false, 'security-insecure': true } })]], [['network.host'], ['security.insecure']])
    assert.throws(() => readEntitlements({ entitlements: { other: true } }), /expected network-host or security-insecure/)
    assert.throws(() => readGc({ other: 1 }, 1), /builder\.other: expected gc/)
  })
})
