import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { openCredentials, serverNamed, serverOf } from './credentials.ts'

describe('passwords of registries', () => {
  let home = ''
  const path = process.env['PATH']
  before(() => {
    home = mkdtempSync('/tmp/gtest-')
    // A helper of the kind that people have (docker-credential-helpers): one file a server.
    const helper = `#!/bin/sh
read -r line
name() { printf %s "$1" | tr -c 'a-z0-9' _; }
case $1 in
  get) cat "${home}/kept-$(name "$line")" 2>/dev/null || { echo 'credentials not found in native keychain'; exit 1; } ;;
  store) server=$(printf %s "$line" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/'); printf %s "$line" >"${home}/kept-$(name "$server")" ;;
  erase) rm "${home}/kept-$(name "$line")" ;;
esac
`
    writeFileSync(`${home}/docker-credential-testing`, helper)
    chmodSync(`${home}/docker-credential-testing`, 0o755)
    writeFileSync(`${home}/docker-credential-broken`, '#!/bin/sh\necho the keychain is locked\nexit 3\n')
    chmodSync(`${home}/docker-credential-broken`, 0o755)
    process.env['PATH'] = `${home}:${path}`
  })
  after(() => {
    process.env['PATH'] = path
    rmSync(home, { recursive: true })
  })
  const configured = (config: object): ReturnType<typeof openCredentials> => {
    writeFileSync(`${home}/config.json`, JSON.stringify(config))
    return openCredentials(home)
  }

  it('lie in the file, readable again, and are gone after erase()', async () => {
    const credentials = configured({ psFormat: 'kept' })
    assert.equal((await credentials.store({ username: 'me', password: 'a:b', serveraddress: 'r.example' })).inFile, `${home}/config.json`)
    assert.deepEqual(await credentials.find('r.example'), { username: 'me', password: 'a:b', serveraddress: 'r.example' })
    assert.equal(await credentials.find('other.example'), undefined)
    assert.equal(await credentials.erase('r.example'), true)
    assert.equal(await credentials.find('r.example'), undefined)
    assert.equal((JSON.parse(readFileSync(`${home}/config.json`, 'utf8')) as { psFormat: string }).psFormat, 'kept')
  })
  it('go to the helper that the configuration names, for all or for one host, and not into the file', async () => {
    for (const config of [{ credsStore: 'testing' }, { credHelpers: { 'r.example': 'testing' } }]) {
      const credentials = configured(config)
      assert.equal((await credentials.store({ username: 'me', password: 'secret', serveraddress: 'r.example' })).inFile, undefined)
      assert.doesNotMatch(readFileSync(`${home}/config.json`, 'utf8'), /secret/)
      assert.deepEqual(await credentials.find('r.example'), { username: 'me', password: 'secret', serveraddress: 'r.example' })
      await credentials.erase('r.example')
      assert.equal(await credentials.find('r.example'), undefined)
    }
  })
  it('a token of a helper is a token', async () => {
    const credentials = configured({ credsStore: 'testing' })
    await credentials.store({ username: '<token>', password: 'identity', serveraddress: 't.example' })
    assert.deepEqual(await credentials.find('t.example'), { identitytoken: 'identity', serveraddress: 't.example' })
  })
  it('a helper that fails, or is not there, says so', async () => {
    await assert.rejects(configured({ credsStore: 'broken' }).find('r.example'), /docker-credential-broken get: the keychain is locked/)
    await assert.rejects(configured({ credsStore: 'lacking' }).find('r.example'), /cannot run docker-credential-lacking: it is not installed/)
    await assert.rejects(configured({ credsStore: '../evil' }).find('r.example'), /not a name/)
  })
  it('servers by the names of images', () => {
    assert.deepEqual(['busybox', 'a/b', 'r.example/a', 'localhost/a', 'h:5000/a'].map(serverOf), ['https://index.docker.io/v1/', 'https://index.docker.io/v1/', 'r.example', 'localhost', 'h:5000'])
    assert.deepEqual(['', 'docker.io', 'https://r.example/v2/'].map(serverNamed), ['https://index.docker.io/v1/', 'https://index.docker.io/v1/', 'r.example'])
  })
})
