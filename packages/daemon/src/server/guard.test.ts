import assert from 'node:assert/strict'
import { hostname } from 'node:os'
import { it } from 'node:test'
import { refuseBrowsers } from './guard.ts'

it('refuseBrowsers() lets addresses, short names and own names through, and no foreign domain', () => {
  for (const host of ['127.0.0.1:2375', '[::1]:2375', '::1', 'localhost:2375', 'api.moby.localhost', 'docker:2375', '', hostname(), 'engine.example:2375']) refuseBrowsers({ host }, ['tcp://engine.example:2375'])
  for (const host of ['evil.example', 'EVIL.example:2375', '127.0.0.1.evil.example:80', 'localhost.evil.example', `${hostname()}.evil.example`]) assert.throws(() => refuseBrowsers({ host }, ['tcp://0.0.0.0:2375']), /requests to the host .*evil\.example are refused/)
  assert.throws(() => refuseBrowsers({ host: 'localhost', origin: 'http://localhost' }, []), /Origin/)
})
