import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { it } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { openIsal } from './isal.ts'

const isal = openIsal()
const skip = isal === undefined ? 'needs libisal2 2.30 (Debian package) on x86-64' : false

it('isal: what zlib packs it inflates, at any cut, several members too; what it packs zlib inflates', { skip }, () => {
  for (const content of [Buffer.alloc(0), Buffer.from('x'), randomBytes(3_000_000), Buffer.alloc(20_000_000, 'text '), Buffer.concat([randomBytes(1 << 20), Buffer.alloc(1 << 20)])]) {
    const packed = Buffer.concat([gzipSync(content), gzipSync(content.subarray(0, 10))])
    for (const cut of [1 << 20, 65_536, 7777]) {
      const inflater = isal?.inflater()
      const parts: Buffer[] = []
      for (let at = 0; at < packed.length; at += cut) parts.push(...(inflater?.push(packed.subarray(at, at + cut)) ?? []))
      inflater?.end()
      assert.ok(Buffer.concat(parts).equals(Buffer.concat([content, content.subarray(0, 10)])), `${content.length} bytes cut by ${cut}`)
    }
    assert.ok(gunzipSync(isal?.pack(content) ?? '').equals(content))
  }
})
it('isal: what is damaged or cut off is an error', { skip }, () => {
  const packed = gzipSync(randomBytes(100_000))
  const feed = (bytes: Buffer): void => {
    const inflater = isal?.inflater()
    for (const _ of inflater?.push(bytes) ?? []) continue
    inflater?.end()
  }
  assert.throws(() => feed(packed.subarray(0, 50_000)), /cut off/)
  const damaged = Buffer.from(packed)
  damaged.fill(0xff, 40_000, 40_100)
  assert.throws(() => feed(damaged), /damaged|cut off/)
  const wrongSum = Buffer.from(packed)
  wrongSum[packed.length - 6] = (wrongSum[packed.length - 6] ?? 0) ^ 1
  assert.throws(() => feed(wrongSum), /damaged/)
  assert.throws(() => feed(Buffer.concat([packed, Buffer.from('trailing rubbish')])), /damaged|cut off/)
})
