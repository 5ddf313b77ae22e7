import assert from 'node:assert/strict'
import { it } from 'node:test'
import { createVeth, parseLink } from './link.ts'
import { attribute, message, parseAnswers, parseAttributes, text, u32 } from './message.ts'

it('attribute() refuses what 16 bits cannot hold', () => assert.throws(() => attribute(1, Buffer.alloc(65_536)), /65540 bytes long/))
it('message() and the parsers agree', () => {
  const head = Buffer.alloc(16)
  head.writeInt32LE(7, 4)
  const [answer] = parseAnswers(message(16, 0, head, [attribute(3, text('gtest0')), attribute(20, Buffer.from('mark'))]))
  assert.ok(answer)
  assert.deepEqual(parseLink(answer), { index: 7, name: 'gtest0', alias: 'mark', up: false })
})
it('parseAttributes() stops at a length that cannot be', () => assert.equal(parseAttributes(Buffer.from([255, 255, 1, 0])).size, 0))
it('createVeth() says where the pid belongs', () => {
  const veth = createVeth({ name: 'gv1', index: 9, master: 3, mtu: 1500, peer: { name: 'eth0', mac: '02:42:ac:11:00:02', index: 16 } })
  assert.deepEqual(veth.bytes.subarray(veth.pidAt, veth.pidAt + 4), u32(0x7fedcba9))
  assert.equal(veth.bytes.readUInt32LE(0), veth.bytes.length)
})
