import assert from 'node:assert/strict'
import { it } from 'node:test'
import { contains, formatAddress, formatSubnet, lastAddress, macFor, nthAddress, parseAddress, parseCidr, parseMac } from './address.ts'
import { addressPool, DEFAULT_POOLS, freeSubnet, localPool } from './ipam.ts'

const subnetOf = (text: string): ReturnType<typeof parseCidr>['subnet'] => parseCidr(text, 'test').subnet
const subnet = subnetOf('10.0.0.1/29')

it('addressPool() goes on after the last address, and says when there is none', () => {
  const pool = addressPool(subnet, [nthAddress(subnet, 1n)])
  const first = pool.take()
  pool.release(first)
  assert.notEqual(pool.take().value, first.value)
  for (let n = 0; n < 4; n++) pool.take()
  assert.throws(() => pool.take(), /no available IPv4 addresses/)
})
it('addressPool() keeps to the range, gives what is asked for once, and leaves the network’s own address alone', () => {
  const pool = addressPool(subnetOf('10.1.0.0/16'), [], subnetOf('10.1.5.0/30'))
  assert.equal(formatAddress(pool.take()), '10.1.5.0')
  const wanted = parseAddress('10.1.9.9', 'test')
  assert.equal(formatAddress(pool.take(wanted)), '10.1.9.9')
  assert.throws(() => pool.take(wanted), /^EngineError: Address already in use$/)
  assert.equal(formatAddress(addressPool(subnetOf('fd00:1::/64'), []).take()), 'fd00:1::1')
})
it('freeSubnet() leaves out what overlaps, of either family', () => {
  assert.equal(formatSubnet(freeSubnet(4, DEFAULT_POOLS, [subnetOf('172.17.5.0/24'), subnetOf('172.16.0.0/15')])), '172.18.0.0/16')
  const local = localPool(Buffer.from('0102030405', 'hex'))
  assert.equal(formatSubnet(freeSubnet(6, [local], [])), 'fd01:203:405::/64')
  assert.equal(formatSubnet(freeSubnet(6, [local], [subnetOf('fd01:203:405::/64')])), 'fd01:203:405:1::/64')
  assert.throws(() => freeSubnet(4, [{ base: subnetOf('10.0.0.0/30'), size: 30 }], [subnetOf('10.0.0.0/8')]), /fully subnetted/)
})
it('addresses in words', () => {
  assert.deepEqual([formatAddress(lastAddress(subnet)), macFor(parseAddress('172.17.0.2', 'test'))], ['10.0.0.7', '02:42:ac:11:00:02'])
  assert.equal(formatAddress(parseAddress('2001:DB8:0:0:1::1', 'test')), '2001:db8::1:0:0:1')
  assert.ok(contains(subnetOf('fd00::/8'), parseAddress('fd12::1', 'test')) && !contains(subnetOf('fd00::/8'), parseAddress('10.0.0.1', 'test')))
})
it('what cannot be read is refused by the name of its field', () => {
  assert.throws(() => parseCidr('10.0.0.1', '--bip'), /--bip: invalid CIDR/)
  assert.throws(() => parseCidr('10.0.0.300/8', '--bip'), /--bip: invalid IP/)
  assert.throws(() => parseCidr('10.0.0.0/33', '--bip'), /--bip: invalid CIDR/)
  assert.throws(() => parseMac('01:00:00:00:00:01', 'MacAddress'), /not the MAC address of a host/)
})
