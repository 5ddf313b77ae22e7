import assert from 'node:assert/strict'
import { it } from 'node:test'
import { formatIpv4, lastAddress, macFor, parseCidr } from './address.ts'
import { addressPool, freeSubnet } from './ipam.ts'

const subnet = parseCidr('10.0.0.1/29', 'test').subnet

it('addressPool() goes on after the last address, and says when there is none', () => {
  const pool = addressPool(subnet, [subnet.base + 1])
  const first = pool.take()
  pool.release(first)
  assert.notEqual(pool.take(), first)
  for (let n = 0; n < 4; n++) pool.take()
  assert.throws(() => pool.take(), /no available IPv4 addresses/)
})
it('freeSubnet() leaves out what overlaps', () => assert.equal(formatIpv4(freeSubnet([parseCidr('172.17.5.0/24', 'x').subnet, parseCidr('172.16.0.0/15', 'x').subnet]).base), '172.18.0.0'))
it('addresses in words', () => assert.deepEqual([formatIpv4(lastAddress(subnet)), macFor(0xac110002)], ['10.0.0.7', '02:42:ac:11:00:02']))
it('parseCidr() names the option', () => {
  assert.throws(() => parseCidr('10.0.0.1', '--bip'), /--bip: invalid CIDR/)
  assert.throws(() => parseCidr('10.0.0.300/8', '--bip'), /--bip: invalid IPv4/)
})
