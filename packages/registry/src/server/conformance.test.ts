/** The private registry against the distribution specification v1.1: each check names its section. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { digestOf, randomHex } from '@gantry/std'
import { MEDIA } from '../media-types.ts'
import { manifestChildren } from './manifests.ts'
import { createRegistryServer } from './server.ts'
import { openRegistryStore } from './store.ts'

describe('the registry by the distribution specification', () => {
  const root = mkdtempSync('/tmp/gtest-registry-')
  const store = openRegistryStore(root)
  const server = createRegistryServer({ store })
  let base = ''
  before(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  after(() => {
    server.closeAllConnections()
    server.close()
    rmSync(root, { recursive: true })
  })
  const call = (method: string, path: string, init: { readonly body?: Buffer | string; readonly headers?: Readonly<Record<string, string>> } = {}): Promise<Response> => fetch(path.startsWith('http') ? path : `${base}${path}`, { method, redirect: 'manual', ...(init.body !== undefined && { body: typeof init.body === 'string' ? init.body : new Uint8Array(init.body) }), headers: init.headers ?? {} })
  const code = async (response: Response): Promise<string> => ((await response.json()) as { errors: readonly { code: string }[] }).errors[0]?.code ?? ''
  const push = async (name: string, content: string): Promise<string> => {
    const digest = digestOf(content)
    const started = await call('POST', `/v2/${name}/blobs/uploads/`)
    const location = new URL(started.headers.get('location') ?? '', base)
    location.searchParams.set('digest', digest)
    assert.equal((await call('PUT', location.href, { body: content })).status, 201)
    return digest
  }
  const manifestOf = async (name: string, extra: object = {}): Promise<string> => {
    const [config, layer] = ['{}', `layer of ${name} ${randomHex(4)}`]
    await push(name, config)
    await push(name, layer)
    return JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.ociManifest, config: { mediaType: MEDIA.ociConfig, digest: digestOf(config), size: 2 }, layers: [{ mediaType: MEDIA.ociLayer, digest: digestOf(layer), size: layer.length }], ...extra })
  }
  const putManifest = (name: string, reference: string, body: string): Promise<Response> => call('PUT', `/v2/${name}/manifests/${reference}`, { body, headers: { 'Content-Type': MEDIA.ociManifest } })

  it('"Determining Support": GET /v2/ answers 200', async () => assert.equal((await call('GET', '/v2/')).status, 200))
  it('"Pushing a blob monolithically", "POST then PUT", and "Pulling blobs"', async () => {
    const digest = await push('a/b', 'content')
    const got = await call('GET', `/v2/a/b/blobs/${digest}`)
    assert.deepEqual([got.status, await got.text(), got.headers.get('docker-content-digest')], [200, 'content', digest])
    const head = await call('HEAD', `/v2/a/b/blobs/${digest}`)
    assert.deepEqual([head.status, head.headers.get('content-length')], [200, '7'])
  })
  it('"Single POST"', async () => {
    const digest = digestOf('single')
    const made = await call('POST', `/v2/a/b/blobs/uploads/?digest=${digest}`, { body: 'single', headers: { 'Content-Type': 'application/octet-stream' } })
    assert.equal(made.status, 201)
    assert.equal(await (await call('GET', made.headers.get('location') ?? '')).text(), 'single')
  })
  it('"Pushing a blob in chunks": pieces in order, 416 for one out of order, and where to go on', async () => {
    const started = await call('POST', '/v2/a/b/blobs/uploads/')
    assert.equal(started.status, 202)
    const location = started.headers.get('location') ?? ''
    const piece = (from: number, text: string): Promise<Response> => call('PATCH', location, { body: text, headers: { 'Content-Range': `${from}-${from + text.length - 1}`, 'Content-Type': 'application/octet-stream' } })
    assert.equal((await piece(0, 'first ')).status, 202)
    assert.equal((await piece(100, 'wrong')).status, 416)
    const state = await call('GET', location)
    assert.deepEqual([state.status, state.headers.get('range')], [204, '0-5'])
    assert.equal((await piece(6, 'second ')).status, 202)
    const digest = digestOf('first second third')
    assert.equal((await call('PUT', `${location}?digest=${digest}`, { body: 'third' })).status, 201)
    assert.equal(await (await call('GET', `/v2/a/b/blobs/${digest}`)).text(), 'first second third')
  })
  it('"Canceling a blob upload": DELETE, and then 404', async () => {
    const location = (await call('POST', '/v2/a/b/blobs/uploads/')).headers.get('location') ?? ''
    assert.equal((await call('DELETE', location)).status, 204)
    assert.equal(await code(await call('GET', location)), 'BLOB_UPLOAD_UNKNOWN')
  })
  it('content that is not what its digest says is refused and not kept', async () => {
    const digest = digestOf('what was meant')
    const refused = await call('POST', `/v2/a/b/blobs/uploads/?digest=${digest}`, { body: 'something else' })
    assert.deepEqual([refused.status, await code(refused)], [400, 'DIGEST_INVALID'])
    assert.equal((await call('HEAD', `/v2/a/b/blobs/${digest}`)).status, 404)
  })
  it('"Mounting a blob from another repository": 201 where it is, 202 where not', async () => {
    const digest = await push('from/here', 'mounted content')
    assert.equal((await call('POST', `/v2/to/there/blobs/uploads/?mount=${digest}&from=from/here`)).status, 201)
    assert.equal(await (await call('GET', `/v2/to/there/blobs/${digest}`)).text(), 'mounted content')
    assert.equal((await call('POST', `/v2/to/there/blobs/uploads/?mount=${digestOf('nobody has it')}&from=from/here`)).status, 202)
  })
  it('a blob of one repository is not readable through another', async () => {
    const digest = await push('private/one', 'private content')
    assert.equal((await call('GET', `/v2/private/two/blobs/${digest}`)).status, 404)
  })
  it('"Resumable pull": ranges, and 416 beyond the end', async () => {
    const digest = await push('a/b', '0123456789')
    const part = await call('GET', `/v2/a/b/blobs/${digest}`, { headers: { Range: 'bytes=4-' } })
    assert.deepEqual([part.status, await part.text(), part.headers.get('content-range')], [206, '456789', 'bytes 4-9/10'])
    assert.equal((await call('GET', `/v2/a/b/blobs/${digest}`, { headers: { Range: 'bytes=10-' } })).status, 416)
  })
  it('"Pushing Manifests", "Pulling manifests": by tag and by digest, byte for byte', async () => {
    const body = await manifestOf('a/b')
    const put = await putManifest('a/b', 'v1', body)
    assert.deepEqual([put.status, put.headers.get('docker-content-digest')], [201, digestOf(body)])
    for (const reference of ['v1', digestOf(body)]) {
      const got = await call('GET', `/v2/a/b/manifests/${reference}`)
      assert.deepEqual([got.status, await got.text(), got.headers.get('content-type')], [200, body, MEDIA.ociManifest])
      assert.equal((await call('HEAD', `/v2/a/b/manifests/${reference}`)).headers.get('content-length'), String(body.length))
    }
  })
  it('a manifest is refused when content is missing, when it is no manifest, and when its digest is another', async () => {
    const missing = JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.ociManifest, config: { mediaType: MEDIA.ociConfig, digest: digestOf('nowhere'), size: 7 }, layers: [] })
    assert.equal(await code(await putManifest('a/b', 'bad', missing)), 'MANIFEST_BLOB_UNKNOWN')
    assert.equal(await code(await putManifest('a/b', 'bad', 'not json')), 'MANIFEST_INVALID')
    assert.equal(await code(await putManifest('a/b', digestOf('x'), await manifestOf('a/b'))), 'DIGEST_INVALID')
    assert.equal(await code(await putManifest('a/b', '.bad', await manifestOf('a/b'))), 'TAG_INVALID')
    assert.equal((await call('GET', '/v2/a/b/manifests/bad')).status, 404)
  })
  it('"Listing Tags": sorted, in pages that name the next', async () => {
    const body = await manifestOf('many/tags')
    for (const tag of ['c', 'a', 'b']) await putManifest('many/tags', tag, body)
    const first = await call('GET', '/v2/many/tags/tags/list?n=2')
    assert.deepEqual(await first.json(), { name: 'many/tags', tags: ['a', 'b'] })
    const next = /<([^>]+)>; rel="next"/.exec(first.headers.get('link') ?? '')?.[1] ?? ''
    assert.deepEqual(((await (await call('GET', next)).json()) as { tags: unknown }).tags, ['c'])
    assert.deepEqual(((await (await call('GET', '/v2/many/tags/tags/list?last=b')).json()) as { tags: unknown }).tags, ['c'])
    assert.equal(await code(await call('GET', '/v2/no/such/tags/list')), 'NAME_UNKNOWN')
  })
  it('"Listing Referrers": what names a subject, by type, and gone after its removal', async () => {
    const image = await manifestOf('refer/to')
    await putManifest('refer/to', 'image', image)
    const signature = await manifestOf('refer/to', { artifactType: 'application/x.signature', subject: { mediaType: MEDIA.ociManifest, digest: digestOf(image), size: image.length }, annotations: { by: 'me' } })
    assert.equal((await putManifest('refer/to', digestOf(signature), signature)).headers.get('oci-subject'), digestOf(image))
    const list = async (query: string): Promise<readonly { digest: string; artifactType: string }[]> => ((await (await call('GET', `/v2/refer/to/referrers/${digestOf(image)}${query}`)).json()) as { manifests: readonly { digest: string; artifactType: string }[] }).manifests
    assert.deepEqual((await list('')).map((one) => [one.digest, one.artifactType]), [[digestOf(signature), 'application/x.signature']])
    assert.deepEqual(await list('?artifactType=other'), [])
    assert.equal((await call('DELETE', `/v2/refer/to/manifests/${digestOf(signature)}`)).status, 202)
    assert.deepEqual(await list(''), [])
  })
  it('"Content Management": tags, manifests and blobs go', async () => {
    const body = await manifestOf('go/away')
    await putManifest('go/away', 'one', body)
    await putManifest('go/away', 'two', body)
    assert.equal((await call('DELETE', '/v2/go/away/manifests/one')).status, 202)
    assert.equal((await call('GET', '/v2/go/away/manifests/two')).status, 200)
    assert.equal((await call('DELETE', `/v2/go/away/manifests/${digestOf(body)}`)).status, 202)
    assert.equal((await call('GET', '/v2/go/away/manifests/two')).status, 404)
    const blob = await push('go/away', 'a blob')
    assert.equal((await call('DELETE', `/v2/go/away/blobs/${blob}`)).status, 202)
    assert.equal(await code(await call('GET', `/v2/go/away/blobs/${blob}`)), 'BLOB_UNKNOWN')
  })
  it('names that are none, and paths that climb, are refused', async () => {
    for (const path of ['/v2/UPPER/tags/list', '/v2/..%2f..%2fetc/tags/list', '/v2/a/_tags/tags/list', '/v2/a/b/blobs/sha256:short', '/v2/a/b/blobs/uploads/..', '/v2/%zz/tags/list']) {
      const { status } = await call('GET', path)
      assert.ok(status === 400 || status === 404, `${path}: ${status}`)
    }
    assert.equal((await call('PUT', '/v2/')).status, 405)
  })
  it('collect() removes what nobody names, and nothing else', async () => {
    const body = await manifestOf('kept/image')
    await putManifest('kept/image', 'one', body)
    const before = store.collect({ dryRun: true, untagged: true }, manifestChildren)
    assert.ok(before.blobs > 0, 'blobs of earlier checks are left')
    // What is young may belong to a push that goes on: nothing goes yet.
    assert.deepEqual(store.collect({ dryRun: false, untagged: true }, manifestChildren), { blobs: 0, bytes: 0, manifests: 0 })
    assert.equal(await (await call('GET', '/v2/kept/image/manifests/one')).text(), body)
  })
})
