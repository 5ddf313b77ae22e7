import assert from 'node:assert/strict'
import { it } from 'node:test'
import { CAPABILITIES, capabilitiesOf, capabilityMask, DEFAULT_CAPABILITIES, tweakCapabilities } from './capabilities.ts'

it('the default set is the field’s', () => assert.equal(capabilityMask(DEFAULT_CAPABILITIES), 0xa80425fbn))
it('tweakCapabilities() adds and drops, ALL first', () => {
  assert.deepEqual(tweakCapabilities(DEFAULT_CAPABILITIES, ['net_admin'], ['ALL'], CAPABILITIES), ['CAP_NET_ADMIN'])
  assert.equal(tweakCapabilities(DEFAULT_CAPABILITIES, ['ALL'], ['CAP_SYS_ADMIN'], CAPABILITIES).includes('CAP_SYS_ADMIN'), false)
  assert.throws(() => tweakCapabilities([], ['FLY'], [], CAPABILITIES), /invalid CapAdd: unknown capability: "CAP_FLY"/)
})
it('capabilitiesOf() reads /proc’s mask', () => assert.deepEqual(capabilitiesOf('0000000000000401'), ['CAP_CHOWN', 'CAP_NET_BIND_SERVICE']))
