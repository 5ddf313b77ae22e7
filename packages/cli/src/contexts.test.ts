import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { openContexts } from './contexts.ts'

describe('contexts', () => {
  let home = ''
  before(() => {
    home = mkdtempSync('/tmp/gtest-')
    writeFileSync(`${home}/config.json`, '{"auths":{"a":{}},"currentContext":"gone"}')
  })
  after(() => rmSync(home, { recursive: true }))
  const plain = { description: '', host: 'unix:///x.sock', skipVerify: false, files: {} }

  it('are kept where other clients look for them, with copies of the files that they name', () => {
    const contexts = openContexts(home)
    writeFileSync(`${home}/ca`, 'CA')
    contexts.put({ name: 'mine', description: 'why', host: 'tcp://h:2376', skipVerify: false, files: { ca: `${home}/ca` } }, false)
    contexts.put({ name: 'other', ...plain }, false)
    assert.deepEqual(contexts.list().map((one) => one.name), ['mine', 'other'])
    // The name of the folder is the SHA-256 of the context's.
    assert.match(contexts.places('mine').meta, /contexts\/meta\/[0-9a-f]{64}$/)
    assert.deepEqual(JSON.parse(readFileSync(`${contexts.places('mine').meta}/meta.json`, 'utf8')), { Name: 'mine', Metadata: { Description: 'why' }, Endpoints: { docker: { Host: 'tcp://h:2376', SkipTLSVerify: false } } })
    assert.deepEqual(contexts.endpoint('mine'), { host: 'tcp://h:2376', tls: { verify: true, ca: `${contexts.places('mine').tls}/docker/ca.pem` } })
    assert.deepEqual(contexts.endpoint('other'), { host: 'unix:///x.sock' })
  })
  it('one of them is current; the rest of the configuration stays', () => {
    const contexts = openContexts(home)
    assert.equal(contexts.current(), 'gone')
    contexts.use('other')
    assert.equal(contexts.current(), 'other')
    contexts.use('default')
    assert.deepEqual(JSON.parse(readFileSync(`${home}/config.json`, 'utf8')), { auths: { a: {} } })
    assert.throws(() => contexts.use('nosuch'), /context "nosuch": context not found/)
  })
  it('refuse names that are taken, reserved or none, and go with their files', () => {
    const contexts = openContexts(home)
    assert.throws(() => contexts.put({ name: 'mine', ...plain }, false), /context "mine" already exists/)
    assert.throws(() => contexts.put({ name: 'default', ...plain }, false), /reserved/)
    assert.throws(() => contexts.put({ name: '../evil', ...plain }, false), /is invalid/)
    contexts.put({ name: 'mine', ...plain }, true)
    assert.equal(contexts.get('mine').host, 'unix:///x.sock')
    contexts.remove('mine')
    assert.throws(() => contexts.get('mine'), /context not found/)
    assert.throws(() => contexts.remove('mine'), /context not found/)
  })
})
