import assert from 'node:assert/strict'
import { it } from 'node:test'
import { parseFilters } from './filters.ts'
import { createRouter, splitVersion } from './router.ts'

const handle = async (): Promise<void> => undefined
const router = createRouter([{ method: 'GET', path: '/containers/{id}/json', handle }, { method: 'GET', path: '/images/{name:}/json', handle }])

it('createRouter() takes names with slashes where a route asks for them', () => {
  assert.deepEqual(router.match('GET', '/v1.41/images/host:5000/a/b/json')?.params, { name: 'host:5000/a/b' })
  assert.deepEqual(router.match('GET', '/containers/x%20y/json')?.params, { id: 'x y' })
  assert.equal(router.match('POST', '/containers/x/json'), undefined)
  assert.equal(router.match('GET', '/containers/a/b/json'), undefined)
})
it('splitVersion() refuses versions in the words that clients look for', () => {
  assert.equal(splitVersion('/v1.24/info').apiVersion, 1024)
  assert.throws(() => splitVersion('/v1.23/info'), /client version 1.23 is too old. Minimum supported API version is 1.24/)
  assert.throws(() => splitVersion('/v1.99/info'), /client version 1.99 is too new. Maximum supported API version is/)
})
it('parseFilters() reads both forms and refuses unknown keys', () => {
  const known = new Set(['label', 'dangling'])
  assert.deepEqual(parseFilters('{"label":{"a=b":true,"c":false}}', known).values('label'), ['a=b'])
  assert.equal(parseFilters('{"dangling":["true"]}', known).flag('dangling'), true)
  assert.throws(() => parseFilters('{"x":["1"]}', known), /invalid filter 'x'/)
  assert.throws(() => parseFilters('{', known), /invalid filter/)
})
