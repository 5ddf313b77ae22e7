import assert from 'node:assert/strict'
import { it } from 'node:test'
import { parseSubordinateIds } from './subordinate-ids.ts'

it('parseSubordinateIds() puts the ranges of a name one behind the other', () => {
  const text = '# comment\nother:1:5\nme:100000:65536\nbroken\n1000:300000:10\n'
  assert.deepEqual(parseSubordinateIds(text, '/etc/subuid', ['me', '1000']), [{ containerID: 0, hostID: 100_000, size: 65_536 }, { containerID: 65_536, hostID: 300_000, size: 10 }])
})
it('parseSubordinateIds() says what to add where', () => assert.throws(() => parseSubordinateIds('', '/etc/subuid', ['me']), /no range for me in \/etc\/subuid; add a line such as me:100000:65536/))
