/** Authorization plugins see exactly what is carried out; debug pages are there for those who asked for them. */
import assert from 'node:assert/strict'
import { mkdirSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { after, before, describe, it } from 'node:test'
import { exec, ownClient, type TestDaemon, testDaemon } from '../harness.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'
const NAME = `gtest-authz-${process.pid}`

interface Asked {
  readonly RequestMethod: string
  readonly RequestUri: string
  readonly RequestBody?: string
  readonly ResponseStatusCode?: number
  readonly ResponseBody?: string
}

describe('authorization plugins', { skip }, () => {
  let daemon: TestDaemon
  let server: Server
  const asked: (Asked & { readonly method: string })[] = []
  let judge: (method: string, about: Asked) => object = () => ({ Allow: true })
  const { gantry, ok } = ownClient(() => daemon)
  before(async () => {
    mkdirSync('/run/docker/plugins', { recursive: true })
    server = createServer((request, response) => {
      let text = ''
      request.on('data', (chunk: Buffer) => {
        text += String(chunk)
      })
      request.on('end', () => {
        const method = (request.url ?? '').slice(1)
        if (method === 'Plugin.Activate') return response.end('{"Implements":["authz"]}')
        const about = JSON.parse(text) as Asked
        asked.push({ method, ...about })
        return response.end(JSON.stringify(judge(method, about)))
      })
    })
    await new Promise<void>((resolve) => server.listen(`/run/docker/plugins/${NAME}.sock`, resolve))
    daemon = await testDaemon(['--authorization-plugin', NAME, '--debug'])
  })
  after(async () => {
    judge = () => ({ Allow: true })
    await daemon.dispose()
    server.close()
    rmSync(`/run/docker/plugins/${NAME}.sock`, { force: true })
  })

  it('see the request with its body and the answer; all goes on as it does without them', async () => {
    asked.length = 0
    assert.equal(await ok('run', '--rm', '--label', 'a=b', 'busybox', 'echo', 'hello'), 'hello')
    const create = asked.find((one) => one.method === 'AuthZPlugin.AuthZReq' && one.RequestUri.startsWith('/containers/create'))
    assert.equal((JSON.parse(Buffer.from(create?.RequestBody ?? '', 'base64').toString()) as { Labels: { a: string } }).Labels.a, 'b')
    const answer = asked.find((one) => one.method === 'AuthZPlugin.AuthZRes' && one.RequestUri.startsWith('/containers/create'))
    assert.equal(answer?.ResponseStatusCode, 201)
    assert.match(Buffer.from(answer?.ResponseBody ?? '', 'base64').toString(), /^\{"Id":"[0-9a-f]{64}"/)
    assert.equal(await ok('info', '-f', '{{json .Plugins.Authorization}}'), JSON.stringify([NAME]))
    assert.equal(await ok('run', '--rm', '-i', 'busybox', 'true'), '')
    await ok('run', '-d', '--name', 'up', 'busybox', 'sleep', '100')
    assert.equal(await ok('exec', 'up', 'echo', 'inside'), 'inside')
    await ok('rm', '-f', 'up')
  })
  it('a refusal of a request leaves nothing behind; one of an answer hides it', async () => {
    judge = (method, about) => (method.endsWith('Req') && Buffer.from(about.RequestBody ?? '', 'base64').includes('"Privileged":true') ? { Allow: false, Msg: 'no privileges' } : { Allow: true })
    assert.match((await gantry('run', '--rm', '--privileged', 'busybox', 'true')).err, new RegExp(`Error response from daemon: authorization denied by plugin ${NAME}: no privileges`))
    assert.equal(await ok('ps', '-aq'), '')
    judge = (method, about) => ({ Allow: !(method.endsWith('Res') && about.RequestUri.startsWith('/info')), Msg: 'secret' })
    assert.match((await gantry('info')).err, /authorization denied by plugin .*: secret/)
    judge = () => ({ Allow: false, Err: 'it broke' })
    assert.match((await gantry('ps')).err, /plugin .* failed with error: AuthZPlugin\.AuthZReq: it broke/)
    judge = () => ({ Allow: true })
  })
  it('what is too long to be shown is not carried out; a body of another type is no way around', async () => {
    const body = JSON.stringify({ Image: 'busybox', Cmd: ['true'], HostConfig: { Privileged: true }, Labels: { pad: 'x'.repeat(1 << 20) } })
    await assert.rejects(daemon.api.json('POST', '/containers/create', { body: Buffer.from(body), contentType: 'application/json' }), /is not shown to authorization plugins, and not carried out/)
    await assert.rejects(daemon.api.json('POST', '/containers/create', { body: Buffer.from('{"Image":"busybox"}'), contentType: 'text/plain' }), /unsupported Content-Type header/)
    assert.equal(await ok('ps', '-aq'), '')
  })
  it('a plugin that is gone lets nobody in', async () => {
    await new Promise((resolve) => {
      server.close(resolve)
      server.closeAllConnections()
    })
    assert.match((await gantry('ps')).err, /plugin .* failed with error/)
    await new Promise<void>((resolve) => server.listen(`/run/docker/plugins/${NAME}.sock`, resolve))
    assert.equal(await ok('ps', '-aq'), '')
  })
  it('debug pages', async () => {
    const vars = await daemon.api.json<{ readonly memstats: { readonly rss: number } }>('GET', '/debug/vars')
    assert.ok(vars.memstats.rss > 1 << 20)
    const page = async (path: string): Promise<string> => (await exec('curl', ['-s', '--unix-socket', daemon.host.slice('unix://'.length), `http://x${path}`])).out
    assert.match(await page('/debug/pprof/goroutine?debug=2'), /^jobs:\n[\s\S]*system\.jobs[\s\S]*\nopen:\n/)
    assert.ok('nodes' in (JSON.parse(await page('/debug/pprof/profile?seconds=1')) as object))
    assert.match(await page('/debug/pprof/profile?seconds=1000'), /seconds: expected 1 to 120/)
  })
})
