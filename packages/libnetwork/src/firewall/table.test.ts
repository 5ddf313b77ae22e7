import assert from 'node:assert/strict'
import { it } from 'node:test'
import { parseAddress, parseCidr } from '../address.ts'
import { addMessages, buildTable, type PublishedPort, removeMessages } from './table.ts'

const port: PublishedPort = { protocol: 'tcp', hostAddress: undefined, hostPort: 8080, address: parseAddress('172.17.0.2', 'test'), port: 80 }

it('one element per published port, whatever the number of ports', () => {
  assert.equal(addMessages('t', { ports: [port] }).length, 1)
  assert.equal(addMessages('t', { ports: Array.from({ length: 1200 }, (_, n) => ({ ...port, hostPort: 1000 + n })) }).length, 3)
  assert.equal(addMessages('t', { ports: [port, { ...port, hostAddress: parseAddress('127.0.0.1', 'test') }, { ...port, address: parseAddress('fd00::2', 'test') }] }).length, 3)
})
it('what is published can be taken back by the same key', () => {
  const [added, removed] = [addMessages('t', { ports: [port] })[0], removeMessages('t', { ports: [port] })[0]]
  const key = Buffer.from([6, 0, 0, 0, 0x1f, 0x90, 0, 0])
  assert.ok(added?.includes(key) && removed?.includes(key))
})
it('the table is the same for the same state', () => assert.deepEqual(Buffer.concat(buildTable('t', 0, { ports: [port] })), Buffer.concat(buildTable('t', 0, { ports: [port] }))))
it('a network brings as many elements whatever is on it; one without a way out is not masqueraded', () => {
  const network = { bridge: 'br-1', subnets: [{ subnet: parseCidr('10.0.0.0/24', 'x').subnet, masquerade: true, sourceAddress: undefined, mode: 'nat' as const }], icc: true, internal: false, trusted: [] }
  const names = (internal: boolean): string[] => addMessages('t', { networks: [{ ...network, internal }] }).map((message) => /(br|same|hair4|masq4|internal)\0/.exec(message.toString('latin1', 28))?.[1] ?? '?')
  assert.deepEqual(names(false).sort(), ['br', 'hair4', 'masq4', 'same'])
  assert.deepEqual(names(true).sort(), ['br', 'hair4', 'internal', 'same'])
})
