import assert from 'node:assert/strict'
import { it } from 'node:test'
import { asInteger, asStringMap, asStrings, checkDepth } from './decode.ts'

it('decoders name the field and what was expected', () => {
  assert.throws(() => asInteger('5', 'Memory'), /Memory: expected a whole number/)
  assert.throws(() => asInteger(1.5, 'Memory'), /Memory: expected a whole number/)
  assert.throws(() => asStrings([1], 'Cmd'), /Cmd\[0\]: expected a string/)
})
it('asStringMap() is safe against names of Object.prototype', () => assert.equal(asStringMap({ a: 'b' }, 'Labels')['constructor'], undefined))
it('checkDepth() counts brackets outside of texts only', () => {
  checkDepth('{"a":"[[[[[[[["}', 2)
  assert.throws(() => checkDepth('[[[]]]', 2), /nested deeper than 2/)
})
