import assert from 'node:assert/strict'
import { it } from 'node:test'
import { localOptions, resolvedData } from './local-options.ts'

it('localOptions() tells flags from data, as mount(8) does', () => {
  assert.deepEqual(localOptions({}), { mount: undefined, bytes: undefined })
  assert.deepEqual(localOptions({ type: 'tmpfs', device: 'tmpfs', o: 'size=10m,uid=1000,noexec,ro' }).mount, { type: 'tmpfs', source: 'tmpfs', flags: 9, data: 'size=10m,uid=1000' })
  assert.deepEqual(localOptions({ type: 'none', device: '/srv', o: 'bind' }).mount, { type: '', source: '/srv', flags: 4096, data: '' })
  assert.equal(localOptions({ size: '10m' }).bytes, 10 << 20)
})
it('localOptions() names what is missing or unknown', () => {
  assert.throws(() => localOptions({ type: 'nfs' }), /missing required option: "device"/)
  assert.throws(() => localOptions({ device: '/x' }), /missing required option: "type"/)
  assert.throws(() => localOptions({ colour: 'red' }), /invalid option: "colour"/)
})
it('resolvedData() leaves addresses and other file systems alone', async () => {
  assert.equal(await resolvedData('nfs', 'addr=192.0.2.1,rw'), 'addr=192.0.2.1,rw')
  assert.equal(await resolvedData('tmpfs', 'addr=nowhere.invalid'), 'addr=nowhere.invalid')
  await assert.rejects(resolvedData('nfs', 'addr=nowhere.invalid'), /error resolving passed in network volume address: nowhere\.invalid/)
})
