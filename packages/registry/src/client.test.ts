/** The distribution client against a registry that misbehaves. */
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { collect, digestOf } from '@gantry/std'
import { ANONYMOUS } from './auth.ts'
import { createRegistryClient, type RegistryClient } from './client.ts'

type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void

/** Serves one test; `seen` holds method, path and authorization of each request. */
async function withRegistry(handler: Handler, use: (client: RegistryClient, seen: readonly string[], base: string) => Promise<void>, credentials = ANONYMOUS): Promise<void> {
  const seen: string[] = []
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? '-'}`)
    handler(request, response, seen.length)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  using client = createRegistryClient({ base, tls: { verify: true, ca: [], cert: '', key: '' } }, credentials)
  try {
    await use(client, seen, base)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

const manifest = '{"schemaVersion":2}'
const give = (response: ServerResponse, status: number, body = '', headers: Readonly<Record<string, string>> = {}): void => {
  response.writeHead(status, headers)
  response.end(body)
}

describe('registry client', () => {
  it('waits through 429 and 500, but not for ever', async () => {
    await withRegistry((_, response, count) => give(response, count === 1 ? 429 : count === 2 ? 500 : 200, manifest, { 'Retry-After': '0' }), async (client, seen) => {
      assert.equal((await client.manifest('a', 'b')).digest, digestOf(manifest))
      assert.equal(seen.length, 3)
    })
    await withRegistry((_, response) => give(response, 429, '{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}', { 'Retry-After': '0' }), async (client, seen) => {
      await assert.rejects(client.manifest('a', 'b'), /toomanyrequests: .*slow down/)
      assert.equal(seen.length, 5)
    })
  })
  it('refuses a manifest that is not what its digest names', () =>
    withRegistry((_, response) => give(response, 200, 'other'), async (client) => {
      await assert.rejects(client.manifest('a', digestOf(manifest)), /manifest verification failed for digest/)
    }))
  it('does not go round in circles', () =>
    withRegistry((request, response) => give(response, 302, '', { Location: String(request.url) }), async (client, seen) => {
      await assert.rejects(client.manifest('a', 'b'), /more than 5 redirects/)
      assert.equal(seen.length, 6)
    }))
  it('shows its password to the registry, and not to where the registry sends it', async () => {
    const elsewhere: string[] = []
    const other = createServer((request, response) => {
      elsewhere.push(request.headers.authorization ?? '-')
      give(response, 200, 'blob')
    })
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    await withRegistry(
      (request, response) => {
        if (request.headers.authorization === undefined) return give(response, 401, '', { 'WWW-Authenticate': 'Basic realm="x"' })
        give(response, 307, '', { Location: `http://127.0.0.1:${(other.address() as AddressInfo).port}/blob` })
      },
      async (client, seen) => {
        const { stream } = await client.blob('a', digestOf('blob'), 0)
        assert.equal((await collect(stream, 100)).toString(), 'blob')
        assert.match(seen.at(-1) ?? '', /Basic dTpw/)
        assert.deepEqual(elsewhere, ['-'])
      },
      { ...ANONYMOUS, username: 'u', password: 'p' },
    )
    other.close()
  })
  it('fetches a token for what it is going to do, and keeps it', () =>
    withRegistry(
      (request, response) => {
        if (request.url?.startsWith('/token') === true) return give(response, 200, JSON.stringify({ token: 'good', expires_in: 300 }))
        if (request.headers.authorization !== 'Bearer good') return give(response, 401, '', { 'WWW-Authenticate': `Bearer realm="http://${request.headers.host}/token",service="s",scope="repository:a:pull"` })
        give(response, 200, manifest)
      },
      async (client, seen) => {
        await client.manifest('a', 'one')
        await client.manifest('a', 'two')
        assert.deepEqual(seen.map((line) => line.split(' ')[1]), ['/v2/a/manifests/one', '/token?service=s&scope=repository%3Aa%3Apull', '/v2/a/manifests/one', '/v2/a/manifests/two'])
      },
    ))
  it('tells a wrong password as such', () =>
    withRegistry((_, response) => give(response, 401, '{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}', { 'WWW-Authenticate': 'Basic realm="x"' }), async (client, seen) => {
      await assert.rejects(client.ping(), /unauthorized: no/)
      assert.equal(seen.length, 2)
    }, { ...ANONYMOUS, username: 'u', password: 'wrong' }))
  it('goes on at an offset, and notices a registry that begins anew', async () => {
    await withRegistry((request, response) => give(response, 206, 'rest', { 'Content-Range': `bytes ${String(request.headers.range).replace(/\D/g, '')}-7/8`, 'Content-Length': '4' }), async (client) => {
      const { offset, size, stream } = await client.blob('a', digestOf('x'), 4)
      assert.deepEqual([offset, size, (await collect(stream, 10)).toString()], [4, 8, 'rest'])
    })
    await withRegistry((_, response) => give(response, 200, 'from the start', { 'Content-Length': '14' }), async (client) => assert.equal((await client.blob('a', digestOf('x'), 4)).offset, 0))
    await withRegistry((_, response) => give(response, 206, 'x', { 'Content-Range': 'bytes 2-7/8' }), async (client) => void (await assert.rejects(client.blob('a', digestOf('x'), 4), /asked for bytes from 4/)))
  })
  it('reads lists to their last page', () =>
    withRegistry((request, response) => (request.url?.includes('last=') === true ? give(response, 200, '{"tags":["c"]}') : give(response, 200, '{"tags":["a","b"]}', { Link: '</v2/a/tags/list?last=b>; rel="next"' })), async (client) => {
      assert.deepEqual(await client.tags('a'), ['a', 'b', 'c'])
    }))
})
