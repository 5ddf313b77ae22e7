import assert from 'node:assert/strict'
import { it } from 'node:test'
import { detailsText, fillTag, logAttributes } from './attributes.ts'

const container = { id: 'a'.repeat(64), name: 'web', imageId: `sha256:${'b'.repeat(64)}`, path: 'sh', args: ['-c', 'x'], config: { Image: 'busybox', Labels: { team: 'one', other: 'two' }, Env: ['A=1', 'APP_B=x=y', 'C'] } }

it('logAttributes() takes labels and variables by name and by pattern, and the tag', () => {
  assert.deepEqual(logAttributes({}, container), {})
  assert.deepEqual(logAttributes({ labels: 'team, nosuch', env: 'A', tag: '{{.Name}}/{{.ID}}' }, container), { team: 'one', A: '1', tag: `web/${'a'.repeat(12)}` })
  assert.deepEqual(logAttributes({ 'labels-regex': '^o', 'env-regex': '^APP_' }, container), { other: 'two', APP_B: 'x=y' })
  assert.throws(() => logAttributes({ 'env-regex': '(' }, container), /log-opt env-regex: invalid regular expression/)
  assert.throws(() => logAttributes({ labels: 'big' }, { ...container, config: { ...container.config, Labels: { big: 'x'.repeat(5000) } } }), /more than 4000 bytes/)
})
it('fillTag() knows the fields of the container, and says what it does not know', () => {
  assert.equal(fillTag('{{ .ImageName }} {{.Command}} plain', container), 'busybox sh -c x plain')
  assert.throws(() => fillTag('{{.Nosuch}}', container), /expected one of/)
})
it('detailsText() is sorted and encoded', () => assert.equal(detailsText({ b: 'x y', a: '1,2' }), 'a=1%2C2,b=x+y'))
