import assert from 'node:assert/strict'
import { it } from 'node:test'
import { buildTable, publishMessages, unpublishMessages } from './table.ts'

const port = { protocol: 'tcp', hostAddress: 0, hostPort: 8080, address: 0xac110002, port: 80 } as const

it('one element per published port, whatever the number of ports', () => {
  assert.equal(publishMessages('t', [port]).length, 1)
  assert.equal(publishMessages('t', Array.from({ length: 1200 }, (_, n) => ({ ...port, hostPort: 1000 + n }))).length, 3)
  assert.equal(publishMessages('t', [port, { ...port, hostAddress: 0x7f000001 }]).length, 2)
})
it('what is published can be taken back by the same key', () => {
  const [added, removed] = [publishMessages('t', [port])[0], unpublishMessages('t', [port])[0]]
  const key = Buffer.from([6, 0, 0, 0, 0x1f, 0x90, 0, 0])
  assert.ok(added?.includes(key) && removed?.includes(key))
})
it('the table is the same for the same state', () => assert.deepEqual(Buffer.concat(buildTable('t', 0, [], [port])), Buffer.concat(buildTable('t', 0, [], [port]))))
