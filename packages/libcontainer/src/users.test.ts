import assert from 'node:assert/strict'
import { it } from 'node:test'
import { resolveUser } from './users.ts'

const files = { passwd: 'root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n0:x:55:55::/:/bin/sh\n', group: 'root:x:0:\napp:x:1000:\nwheel:x:10:app,root\n' }

it('resolveUser() by name, number, and with a group', () => {
  assert.deepEqual(resolveUser('app', files), { uid: 1000, gid: 1000, additionalGids: [1000, 10], home: '/home/app' })
  assert.deepEqual(resolveUser('1000:10', files), { uid: 1000, gid: 10, additionalGids: [10], home: '/home/app' })
  assert.deepEqual(resolveUser('', files), { uid: 0, gid: 0, additionalGids: [0, 10], home: '/root' })
  assert.deepEqual(resolveUser('4242', files), { uid: 4242, gid: 0, additionalGids: [0], home: '/' })
})
it('resolveUser() lets a number win over a name that looks like one (CVE-2016-3697)', () => assert.equal(resolveUser('0', files).uid, 0))
it('resolveUser() refuses numbers that would wrap (CVE-2024-40635)', () => {
  for (const user of ['4294967295', '4294967296', '-1', '99999999999999999999']) assert.throws(() => resolveUser(user, files), /is not between/)
})
it('resolveUser() names who is missing', () => {
  assert.throws(() => resolveUser('ghost', files), /unable to find user ghost/)
  assert.throws(() => resolveUser('app:ghosts', files), /unable to find group ghosts/)
})
