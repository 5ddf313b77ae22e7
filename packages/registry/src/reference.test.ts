import assert from 'node:assert/strict'
import { it } from 'node:test'
import { familiarString, parseReference } from './reference.ts'

it('parseReference() keeps a port in the host', () => assert.deepEqual(parseReference('localhost:5000/a/b:1'), { domain: 'localhost:5000', path: 'a/b', tag: '1', digest: undefined }))
it('familiarString() is what people write', () => {
  assert.deepEqual(['busybox', 'user/app:2', 'host.example:5000/x', 'docker.io/library/redis'].map((name) => familiarString(parseReference(name))), ['busybox:latest', 'user/app:2', 'host.example:5000/x:latest', 'redis:latest'])
})
it('parseReference() refuses what no registry takes', () => {
  for (const bad of ['', 'Upper', 'a//b', '-x', 'a:b:c', 'a@sha256:12', 'a'.repeat(300)]) assert.throws(() => parseReference(bad), /invalid|must be lowercase/, bad)
  assert.throws(() => parseReference('a'.repeat(64).replaceAll('a', '0')), /64-byte hexadecimal/)
})
