/** What an answer has depends on the version that was asked for: what has come since 1.51, and what has gone. */
import assert from 'node:assert/strict'
import { get } from 'node:http'
import { after, before, describe, it } from 'node:test'
import { importArchive, ownClient, type TestDaemon, testDaemon } from '../harness.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'
type Json = Readonly<Record<string, unknown>>

describe('API versions', { skip }, () => {
  let daemon: TestDaemon
  const { ok } = ownClient(() => daemon)
  const ask = (path: string): Promise<Json> => daemon.api.json<Json>('GET', path)
  before(async () => {
    daemon = await testDaemon()
    await ok('network', 'create', '--subnet', '10.66.0.0/24', 'front')
    await ok('run', '-d', '--name', 'web', '--health-cmd', 'true', '--health-interval', '1s', 'busybox', 'sleep', '1000')
  })
  after(async () => {
    await ok('rm', '-f', 'web')
    await ok('network', 'rm', 'front')
    await daemon.dispose()
  })

  it('the newest is told, older than the oldest and newer than the newest are refused, none is 1.51', async () => {
    assert.deepEqual([(await ask('/version'))['ApiVersion'], (await ask('/version'))['MinAPIVersion']], ['1.56', '1.24'])
    await assert.rejects(ask('/v1.57/info'), /client version 1\.57 is too new\. Maximum supported API version is 1\.56/)
    await assert.rejects(ask('/v1.23/info'), /client version 1\.23 is too old/)
    assert.ok('LayersSize' in (await ask('/system/df')))
  })
  it('containers: health in lists, no flat addresses, since 1.52', async () => {
    const [old, current] = await Promise.all(['1.51', '1.52'].map((version) => daemon.api.json<readonly Json[]>('GET', `/v${version}/containers/json`)))
    assert.equal(old?.[0]?.['Health'], undefined)
    assert.deepEqual(Object.keys((current?.[0]?.['Health'] ?? {}) as Json), ['Status', 'FailingStreak'])
    const settings = async (version: string): Promise<Json> => (await ask(`/v${version}/containers/web/json`))['NetworkSettings'] as Json
    assert.ok('IPAddress' in (await settings('1.51')))
    assert.deepEqual(Object.keys(await settings('1.56')).sort(), ['Networks', 'Ports', 'SandboxID', 'SandboxKey'])
  })
  it('images: what is empty is left out, since 1.52; a platform that is not there is not found', async () => {
    await importArchive(daemon, { repo: 'bare' }, Buffer.alloc(1024))
    const config = async (version: string): Promise<Json> => (await ask(`/v${version}/images/bare/json`))['Config'] as Json
    assert.deepEqual([(await config('1.49'))['ArgsEscaped'], (await config('1.51'))['ArgsEscaped'], (await config('1.51'))['Cmd']], [false, undefined, null])
    assert.deepEqual(await config('1.52'), {})
    for (const field of ['Parent', 'DockerVersion', 'Author']) assert.deepEqual([field in (await ask('/v1.51/images/bare/json')), field in (await ask('/v1.52/images/bare/json'))], [true, false], field)
    assert.ok('VirtualSize' in (await ask('/v1.43/images/bare/json')))
    const platform = encodeURIComponent('{"os":"linux","architecture":"s390x"}')
    for (const path of ['json', 'history', 'get']) await assert.rejects(ask(`/images/bare/${path}?platform=${platform}`), /does not match the specified platform \(linux\/s390x\)/, path)
    await assert.rejects(ask('/images/bare/json?platform=nonsense'), /failed to parse platform/)
    await assert.rejects(ask('/v1.55/images/bare/attestations'), /attestations/)
    await ok('rmi', 'bare')
  })
  it('networks: how full the subnets are, since 1.52', async () => {
    const { Status, Containers } = (await ask('/v1.52/networks/front')) as { Status: { IPAM: { Subnets: Readonly<Record<string, unknown>> } }; Containers: unknown }
    assert.deepEqual(Status.IPAM.Subnets['10.66.0.0/24'], { IPsInUse: 3, DynamicIPsAvailable: 253 })
    assert.deepEqual(Containers, {})
    assert.equal((await ask('/v1.51/networks/front'))['Status'], undefined)
    const text = await new Promise<string>((resolve, reject) => get({ socketPath: daemon.host.slice('unix://'.length), path: '/v1.52/networks/front' }, (response) => {
      let all = ''
      response.on('data', (chunk: Buffer) => {
        all += chunk.toString()
      })
      response.on('end', () => resolve(all))
    }).on('error', reject))
    assert.match(text, /"DynamicIPsAvailable":18446744073709551614/, 'a number that JavaScript has no room for is exact')
  })
  it('system df: usage by kind since 1.52, the old lists until 1.52', async () => {
    const keys = async (version: string, query = ''): Promise<readonly string[]> => Object.keys(await ask(`/v${version}/system/df${query}`)).filter((key) => key !== 'Gantry').sort()
    assert.deepEqual(await keys('1.51'), ['BuildCache', 'BuilderSize', 'Containers', 'Images', 'LayersSize', 'Volumes'])
    assert.deepEqual(await keys('1.53'), ['BuildCacheUsage', 'ContainerUsage', 'ImageUsage', 'VolumeUsage'])
    assert.deepEqual(await keys('1.53', '?type=image'), ['ImageUsage'])
    const { ContainerUsage } = (await ask('/v1.56/system/df?verbose=1')) as { ContainerUsage: Json & { Items: readonly Json[] } }
    assert.deepEqual([ContainerUsage['ActiveCount'], ContainerUsage['TotalCount'], ContainerUsage.Items.length], [1, 1, 1])
    const { ImageUsage } = (await ask('/v1.56/system/df')) as { ImageUsage: Json }
    assert.deepEqual([ImageUsage['ActiveCount'], ImageUsage['TotalCount'], 'Items' in ImageUsage], [1, 1, false])
  })
  it('events: nothing twice since 1.52, and told apart as the client asks', async () => {
    const events = async (version: string, accept: string): Promise<readonly [type: string | undefined, first: string]> => {
      const response = await daemon.api.send('GET', `/v${version}/events`, { query: { since: '1', until: String(Math.floor(Date.now() / 1000) + 1), filters: '{"event":["create"],"type":["container"]}' }, headers: { Accept: accept } })
      let all = ''
      for await (const chunk of response) all += String(chunk)
      return [response.headers['content-type'], all.split('\n')[0] ?? '']
    }
    assert.match((await events('1.51', 'application/x-ndjson'))[1], /^\{"status":"create","id":/)
    const [type, line] = await events('1.52', 'application/x-ndjson')
    assert.deepEqual([type, Object.keys(JSON.parse(line) as Json).sort()], ['application/x-ndjson', ['Action', 'Actor', 'Type', 'scope', 'time', 'timeNano']])
    assert.match((await events('1.53', 'application/json-seq'))[1], /^\u001e\{/)
    assert.equal((await events('1.52', 'application/jsonl'))[0], 'application/json')
    assert.equal((await events('1.53', 'application/jsonl'))[0], 'application/jsonl')
  })
  it('limits of devices change and go (1.55)', async () => {
    const throttles = (): Promise<string> => ok('inspect', '-f', '{{json .HostConfig.BlkioDeviceReadBps}}', 'web')
    const device = (await daemon.inside('sh', '-c', 'ls /dev/vda /dev/sda /dev/nvme0n1 /dev/loop0 2>/dev/null | head -1')).trim()
    const update = (rate: number): Promise<unknown> => daemon.api.json('POST', '/v1.56/containers/web/update', { json: { BlkioDeviceReadBps: [{ Path: device, Rate: rate }] } })
    await update(1 << 20)
    assert.equal(await throttles(), JSON.stringify([{ Path: device, Rate: 1 << 20 }]))
    await update(2 << 20)
    assert.equal(await throttles(), JSON.stringify([{ Path: device, Rate: 2 << 20 }]))
    await update(0)
    assert.equal(await throttles(), '[]')
  })
  it('parents without a name go with the last image that was made from them', async () => {
    await ok('run', '--name', 'made', 'busybox', 'touch', '/a')
    await ok('commit', 'made', 'step:1')
    await ok('run', '--name', 'made2', 'step:1', 'touch', '/b')
    await ok('commit', 'made2', 'top:1')
    await ok('rm', 'made', 'made2')
    await ok('rmi', 'step:1')
    const removed = await daemon.api.json<readonly Json[]>('DELETE', '/images/top:1')
    assert.equal(removed.filter((one) => 'Deleted' in one).length >= 3, true, JSON.stringify(removed))
    assert.equal(await ok('images', '-aq', '--filter', 'dangling=true'), '')
  })
})
