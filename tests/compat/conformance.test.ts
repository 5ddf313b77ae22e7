/** Every operation of the Engine API's definition, but those of a swarm: each documented status is brought about and each documented field is seen, or it is listed here why not. */
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { type TestDaemon, testDaemon } from '../harness.ts'
import { OPERATIONS } from './operations.table.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'
const VERSION = '/v1.56'

/** One request: what it is a case of, and what it answers. `{x}` in the path stands for what an earlier case gave. */
interface Case {
  readonly operation: string
  readonly status: number
  readonly path: string
  readonly json?: unknown
  readonly body?: Buffer
  readonly headers?: Readonly<Record<string, string>>
  /** Keeps the `Id` of the answer under this name. */
  readonly keep?: string
  /** Ends the connection once the head is there. */
  readonly head?: true
}

const PATIENCE_MS = 15_000
const HIJACK = { Connection: 'Upgrade', Upgrade: 'tcp' }
const ok = (operation: string, status: number, path: string, more: Partial<Case> = {}): Case => ({ operation, status, path, ...more })
const none = (operation: string, path: string, more: Partial<Case> = {}): Case => ok(operation, 404, path, more)
const filters = (text: string): string => `filters=${encodeURIComponent(text)}`
const SLEEP = { Image: 'busybox', Cmd: ['sh', '-c', 'echo said; touch /made; exec sleep 1000'], Labels: { a: 'b' }, ExposedPorts: { '80/tcp': {} }, HostConfig: { Binds: ['conf:/data'] } }
const EMPTY_TAR = Buffer.alloc(1024)
const NEEDS_REGISTRY = '127.0.0.1:1/nothing'

const CASES: readonly Case[] = [
  ok('SystemPing', 200, '/_ping'), ok('SystemPingHead', 200, '/_ping'), ok('SystemVersion', 200, '/version'), ok('SystemInfo', 200, '/info'),
  ok('VolumeCreate', 201, '/volumes/create', { json: { Name: 'conf', Labels: { a: 'b' } } }), ok('VolumeInspect', 200, '/volumes/conf'), none('VolumeInspect', '/volumes/nosuch'), ok('VolumeList', 200, '/volumes'), none('VolumeDelete', '/volumes/nosuch'),
  ok('ContainerCreate', 201, '/containers/create?name=conf', { json: SLEEP, keep: 'id' }), ok('ContainerCreate', 400, '/containers/create?name=-bad', { json: SLEEP }), none('ContainerCreate', '/containers/create', { json: { Image: 'nosuch' } }), ok('ContainerCreate', 409, '/containers/create?name=conf', { json: SLEEP }),
  ok('ContainerArchiveInfo', 200, '/containers/conf/archive?path=/bin'), ok('ContainerArchiveInfo', 400, '/containers/conf/archive'), none('ContainerArchiveInfo', '/containers/conf/archive?path=/nosuch'), ok('ContainerKill', 409, '/containers/conf/kill'),
  ok('ContainerStart', 204, '/containers/conf/start'), ok('ContainerStart', 304, '/containers/conf/start'), none('ContainerStart', '/containers/nosuch/start'), ok('ContainerCreate', 201, '/containers/create?name=broken', { json: { Image: 'busybox', Cmd: ['/nosuch'] } }), ok('ContainerStart', 400, '/containers/broken/start'),
  ok('ContainerList', 200, '/containers/json?all=1&size=1'), ok('ContainerList', 400, `/containers/json?${filters('{"colour":["red"]}')}`), ok('ContainerInspect', 200, '/containers/conf/json?size=1'), none('ContainerInspect', '/containers/nosuch/json'), ok('ContainerTop', 200, '/containers/conf/top'), none('ContainerTop', '/containers/nosuch/top'),
  ok('ContainerLogs', 200, '/containers/conf/logs?stdout=1'), none('ContainerLogs', '/containers/nosuch/logs?stdout=1'), ok('ContainerChanges', 200, '/containers/conf/changes'), none('ContainerChanges', '/containers/nosuch/changes'), ok('ContainerExport', 200, '/containers/conf/export'), none('ContainerExport', '/containers/nosuch/export'),
  ok('ContainerStats', 200, '/containers/conf/stats?stream=0'), none('ContainerStats', '/containers/nosuch/stats'), none('ContainerResize', '/containers/nosuch/resize?h=1&w=1'), ok('ContainerUpdate', 200, '/containers/conf/update', { json: { Memory: 1 << 26, MemorySwap: 1 << 27 } }), none('ContainerUpdate', '/containers/nosuch/update', { json: {} }),
  ok('ContainerRename', 204, '/containers/conf/rename?name=conf2'), ok('ContainerRename', 204, '/containers/conf2/rename?name=conf'), ok('ContainerRename', 409, '/containers/conf/rename?name=broken'), none('ContainerRename', '/containers/nosuch/rename?name=x'), ok('ContainerPause', 204, '/containers/conf/pause'), none('ContainerPause', '/containers/nosuch/pause'), ok('ContainerUnpause', 204, '/containers/conf/unpause'), none('ContainerUnpause', '/containers/nosuch/unpause'),
  ok('ContainerAttach', 101, '/containers/conf/attach?stream=1&stdout=1', { headers: HIJACK, head: true }), ok('ContainerAttach', 200, '/containers/conf/attach?logs=1&stdout=1'), ok('ContainerAttach', 400, '/containers/conf/attach?stream=1&stdout=1&detachKeys=nosuch'), none('ContainerAttach', '/containers/nosuch/attach?stream=1'),
  ok('ContainerAttachWebsocket', 101, '/containers/conf/attach/ws?stream=1&stdout=1', { headers: { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' }, head: true }), ok('ContainerAttachWebsocket', 400, '/containers/conf/attach/ws'), none('ContainerAttachWebsocket', '/containers/nosuch/attach/ws'),
  ok('ContainerArchive', 200, '/containers/conf/archive?path=/etc/passwd'), ok('ContainerArchive', 400, '/containers/conf/archive'), none('ContainerArchive', '/containers/conf/archive?path=/nosuch'), ok('PutContainerArchive', 200, '/containers/conf/archive?path=/tmp', { body: EMPTY_TAR }), ok('PutContainerArchive', 400, '/containers/conf/archive', { body: EMPTY_TAR }), none('PutContainerArchive', '/containers/conf/archive?path=/nosuch', { body: EMPTY_TAR }),
  ok('ContainerCreate', 201, '/containers/create?name=solid', { json: { Image: 'busybox', HostConfig: { ReadonlyRootfs: true } } }), ok('PutContainerArchive', 403, '/containers/solid/archive?path=/tmp', { body: EMPTY_TAR }),
  ok('ContainerExec', 201, '/containers/conf/exec', { json: { Cmd: ['true'], AttachStdout: true }, keep: 'exec' }), none('ContainerExec', '/containers/nosuch/exec', { json: { Cmd: ['true'] } }), ok('ContainerExec', 409, '/containers/broken/exec', { json: { Cmd: ['true'] } }), ok('ExecStart', 200, '/exec/{exec}/start', { json: { Detach: true } }), none('ExecStart', '/exec/nosuch/start', { json: {} }), ok('ExecStart', 409, '/exec/{exec}/start', { json: { Detach: true } }), ok('ExecInspect', 200, '/exec/{exec}/json'), none('ExecInspect', '/exec/nosuch/json'), none('ExecResize', '/exec/nosuch/resize?h=1&w=1'),
  ok('ContainerExec', 201, '/containers/conf/exec', { json: { Cmd: ['sleep', '5'], Tty: true }, keep: 'exec2' }), ok('ExecStart', 200, '/exec/{exec2}/start', { json: { Detach: true, Tty: true } }), ok('ExecResize', 200, '/exec/{exec2}/resize?h=10&w=20'), ok('ExecResize', 400, '/exec/{exec2}/resize?h=x&w=20'), ok('ContainerCreate', 201, '/containers/create?name=term', { json: { Image: 'busybox', Cmd: ['sleep', '1000'], Tty: true } }), ok('ContainerStart', 204, '/containers/term/start'), ok('ContainerResize', 200, '/containers/term/resize?h=10&w=20'),
  ok('ImageCommit', 201, '/commit?container=conf&repo=made', { json: {} }), none('ImageCommit', '/commit?container=nosuch', { json: {} }), ok('ImageList', 200, '/images/json?shared-size=1'), ok('ImageInspect', 200, '/images/made/json'), none('ImageInspect', '/images/nosuch/json'), ok('ImageHistory', 200, '/images/made/history'), none('ImageHistory', '/images/nosuch/history'), ok('ImageTag', 201, '/images/made/tag?repo=other'), ok('ImageTag', 400, '/images/made/tag?repo=Upper'), none('ImageTag', '/images/nosuch/tag?repo=x'), ok('ImageAttestations', 501, '/images/made/attestations'),
  ok('ImageGet', 200, '/images/made/get'), ok('ImageGetAll', 200, '/images/get?names=made'), ok('ImageCreate', 200, '/images/create?fromSrc=-&repo=bare', { body: EMPTY_TAR }), ok('ImagePush', 200, `/images/${NEEDS_REGISTRY}/push`, { headers: { 'X-Registry-Auth': 'e30=' } }),
  ok('ImageDelete', 409, '/images/busybox'), ok('ImageDelete', 200, '/images/other'), none('ImageDelete', '/images/nosuch'), ok('ImagePrune', 200, '/images/prune'), ok('BuildPrune', 200, '/build/prune'),
  ok('NetworkCreate', 201, '/networks/create', { json: { Name: 'confnet', Labels: { a: 'b' }, IPAM: { Config: [{ Subnet: '10.91.0.0/24' }] } } }), ok('NetworkCreate', 400, '/networks/create', { json: { Name: 'x', IPAM: { Config: [{ Subnet: 'bad' }] } } }), ok('NetworkCreate', 403, '/networks/create', { json: { Name: 'bridge' } }), none('NetworkCreate', '/networks/create', { json: { Name: 'x', Driver: 'nosuch' } }), ok('NetworkConnect', 200, '/networks/confnet/connect', { json: { Container: 'conf' } }), ok('NetworkConnect', 400, '/networks/confnet/connect', { json: { Container: 'broken', EndpointConfig: { IPAMConfig: { IPv4Address: 'bad' } } } }), ok('NetworkConnect', 403, '/networks/host/connect', { json: { Container: 'conf' } }), none('NetworkConnect', '/networks/nosuch/connect', { json: { Container: 'conf' } }),
  ok('NetworkList', 200, '/networks'), ok('NetworkInspect', 200, '/networks/confnet'), none('NetworkInspect', '/networks/nosuch'), ok('NetworkDelete', 403, '/networks/confnet'), ok('NetworkDisconnect', 200, '/networks/confnet/disconnect', { json: { Container: 'conf' } }), ok('NetworkDisconnect', 403, '/networks/host/disconnect', { json: { Container: 'conf' } }), none('NetworkDisconnect', '/networks/nosuch/disconnect', { json: { Container: 'conf' } }), ok('NetworkDelete', 204, '/networks/confnet'), none('NetworkDelete', '/networks/confnet'), ok('NetworkPrune', 200, '/networks/prune'),
  ok('SystemEvents', 200, '/events?since=1&until=2'), ok('SystemEvents', 400, '/events?since=x'), ok('SystemDataUsage', 200, '/system/df'),
  ok('PluginList', 200, '/plugins'), none('PluginInspect', '/plugins/x/json'), none('PluginDelete', '/plugins/x'), ...['enable', 'disable', 'upgrade', 'push', 'set'].map((verb) => none(`Plugin${verb[0]?.toUpperCase()}${verb.slice(1)}`, `/plugins/x/${verb}`)),
  ok('ContainerKill', 204, '/containers/term/kill'), none('ContainerKill', '/containers/nosuch/kill'), ok('ContainerWait', 200, '/containers/term/wait'), ok('ContainerWait', 400, '/containers/term/wait?condition=nosuch'), none('ContainerWait', '/containers/nosuch/wait'), ok('ContainerRestart', 204, '/containers/conf/restart?t=0'), none('ContainerRestart', '/containers/nosuch/restart'), ok('ContainerDelete', 409, '/containers/conf'), ok('ContainerStop', 204, '/containers/conf/stop?t=0'), ok('ContainerStop', 304, '/containers/conf/stop'), none('ContainerStop', '/containers/nosuch/stop'),
  ok('VolumeDelete', 409, '/volumes/conf'), ok('ContainerDelete', 204, '/containers/conf'), none('ContainerDelete', '/containers/conf'), ok('ContainerPrune', 200, '/containers/prune'), ok('VolumeDelete', 204, '/volumes/conf'), ok('VolumePrune', 200, '/volumes/prune'), ok('ImageDelete', 200, '/images/made'), ok('ImageDelete', 200, '/images/bare'),
]

const FAULT = 'a fault inside; none is known that a request could bring about'
const PLUGINS = 'the engine installs no plugins: 501, or 404 where one is named'
/** Statuses that no case brings about, and why. */
const NOT_COVERED: readonly (readonly [operation: RegExp, status: number, reason: string])[] = [
  [/./, 500, FAULT],
  [/^ContainerDelete$/, 400, 'a bad parameter; every word of a boolean is good'],
  [/^ImageBuild$|^Session$/, 200, 'build is not there yet (501)'], [/^ImageBuild$|^Session$/, 400, 'build is not there yet (501)'], [/^Session$/, 101, 'build is not there yet (501)'],
  [/^ImageCreate$/, 404, 'needs a registry: tests/root/images.test.ts, "what is not there says so"'], [/^ImagePush$/, 404, 'the error comes in the stream, as with dockerd'], [/^ImageTag$/, 409, 'no tag conflicts: the name goes to the new image'], [/^ImageSearch$|^DistributionInspect$/, 200, 'needs a registry: tests/root/images.test.ts'], [/^DistributionInspect$/, 401, 'needs a registry: tests/root/images.test.ts'],
  [/^ImageAttestations$/, 200, 'this image store keeps none (501)'], [/^ImageAttestations$/, 400, 'this image store keeps none (501)'], [/^ImageAttestations$/, 404, 'this image store keeps none (501)'],
  [/^SystemAuth$/, 401, 'needs a registry: tests/root/images.test.ts'], [/^ImageLoad$/, 200, 'needs an archive: tests/root/images.test.ts'],
  [/^SystemAuth$/, 200, 'needs a registry: tests/root/images.test.ts, "a registry that wants to know who asks"'], [/^SystemAuth$/, 204, 'the answer always has a status in words'],
  [/^VolumeUpdate$/, 200, 'cluster volumes belong to a swarm'], [/^VolumeUpdate$/, 400, 'cluster volumes belong to a swarm'], [/^VolumeUpdate$/, 404, 'cluster volumes belong to a swarm'], [/^VolumeUpdate$/, 503, 'cluster volumes belong to a swarm (501)'],
  [/Plugin/, 200, PLUGINS], [/Plugin/, 204, PLUGINS],
  [/^ContainerAttachWebsocket$/, 200, 'a web socket is 101'],
]
/** Fields that no answer of these cases has, and why. */
const NOT_SEEN: readonly (readonly [operation: RegExp, fields: readonly string[], reason: string])[] = [
  [/^Container(List|Inspect)$/, ['ImageManifestDescriptor', 'Storage'], 'of image stores of several platforms and of snapshotters'],
  [/^SystemVersion$/, ['Experimental'], 'left out where it is not'],
  [/^ContainerWait$/, ['Error'], 'only when the wait itself has failed'],
  [/^Image(List|Inspect)$/, ['Descriptor', 'Manifests', 'Identity', 'Variant', 'OsVersion', 'Comment', 'Author'], 'of image stores of several platforms, of pulled images, or left out where they are empty'],
  [/^Volume(Create|Inspect)$/, ['Status', 'ClusterVolume', 'UsageData'], 'of plugins, of a swarm, and of system df'],
  [/^Network(List|Inspect)$/, ['Peers', 'Services'], 'of a swarm'],
  [/^SystemInfo$/, ['Isolation', 'NRI', 'ProductLicense', 'FirewallBackend', 'DiscoveredDevices', 'Containerd', 'GenericResources', 'ClusterStore', 'ClusterAdvertise', 'DefaultAddressPools', 'CDISpecDirs'], 'of Windows, of containerd, of NRI, or left out where they are empty'],
  [/Plugin|^Distribution|^ImageSearch|^ImageAttestations|^SystemAuth|^SystemEvents/, ['Id', 'Name', 'Enabled', 'Settings', 'PluginReference', 'Config', 'Description', 'Value', 'Descriptor', 'Platforms', 'description', 'is_official', 'is_automated', 'name', 'star_count', 'PredicateType', 'Statement', 'Status', 'IdentityToken', 'Type', 'Action', 'Actor', 'scope', 'time', 'timeNano'], 'their answers are seen elsewhere, or are lists without entries here'],
]

interface Answer {
  readonly status: number
  readonly text: string
}

function send(socketPath: string, method: string, one: Case, path: string): Promise<Answer> {
  const body = one.json === undefined ? one.body : Buffer.from(JSON.stringify(one.json))
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path: `${VERSION}${path}`, headers: { ...one.headers, ...(one.json !== undefined && { 'Content-Type': 'application/json' }), 'Content-Length': body?.length ?? 0 } }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (chunk: Buffer) => parts.push(chunk))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') }))
      response.on('error', reject)
    })
    sent.on('upgrade', (response, socket) => {
      socket.destroy()
      resolve({ status: response.statusCode ?? 0, text: '' })
    })
    sent.on('error', reject)
    sent.setTimeout(PATIENCE_MS, () => sent.destroy(new Error(`no answer to ${method} ${path}`)))
    sent.end(body)
  })
}

const documented = new Map(OPERATIONS.map(([operation, method, path, statuses, fields]) => [operation, { method, path, statuses, fields }]))

describe('the definition of the Engine API', { skip }, () => {
  let daemon: TestDaemon
  const covered = new Map<string, Set<number>>()
  const seen = new Map<string, Set<string>>()
  before(async () => {
    daemon = await testDaemon()
  })
  after(() => disposeClean(daemon))
  it('each case answers with its status', async () => {
    const kept = new Map<string, string>()
    const wrong: string[] = []
    for (const one of CASES) {
      const known = documented.get(one.operation)
      assert.ok(known, `${one.operation} is no operation`)
      const path = one.path.replace(/\{(\w+)\}/g, (_, name: string) => kept.get(name) ?? '')
      const { status, text } = await send(daemon.host.slice('unix://'.length), known.method, one, path)
      if (status !== one.status) wrong.push(`${known.method} ${path}: ${status} instead of ${one.status}: ${text.slice(0, 200)}`)
      covered.set(one.operation, (covered.get(one.operation) ?? new Set()).add(status))
      if (status >= 400 && known.method !== 'HEAD') assert.equal(typeof (JSON.parse(text) as { message?: unknown }).message, 'string', `${path}: an error has a message`)
      if (status >= 300 || !/^[[{]/.test(text) || known.fields.length === 0) continue
      const answer = JSON.parse(text.split('\n', 1)[0] ?? '') as object | readonly object[]
      if (one.keep !== undefined) kept.set(one.keep, (answer as { Id: string }).Id)
      const names = seen.get(one.operation) ?? new Set<string>()
      for (const item of Array.isArray(answer) ? (answer as readonly object[]) : [answer]) for (const name of Object.keys(item)) names.add(name)
      seen.set(one.operation, names)
    }
    assert.deepEqual(wrong, [])
  })
  it('every documented status is covered, or it is listed why not', () => {
    const missing = OPERATIONS.flatMap(([operation, , , statuses]) => statuses.filter((status) => covered.get(operation)?.has(status) !== true && !NOT_COVERED.some(([pattern, other]) => pattern.test(operation) && other === status)).map((status) => `${operation} ${status}`))
    assert.deepEqual(missing, [])
  })
  it('every documented field is seen, or it is listed why not', () => {
    const missing = OPERATIONS.flatMap(([operation, , , , fields]) => fields.filter((field) => seen.get(operation)?.has(field) !== true && !NOT_SEEN.some(([pattern, others]) => pattern.test(operation) && others.includes(field))).map((field) => `${operation} ${field}`))
    assert.deepEqual(missing, [])
  })
  it('counts', (context) => {
    const count = (work: (row: (typeof OPERATIONS)[number]) => number): number => OPERATIONS.reduce((sum, row) => sum + work(row), 0)
    context.diagnostic(`${OPERATIONS.length} operations; statuses: ${count(([operation, , , statuses]) => statuses.filter((status) => covered.get(operation)?.has(status)).length)} of ${count(([, , , statuses]) => statuses.length)} covered; fields: ${count(([operation, , , , fields]) => fields.filter((field) => seen.get(operation)?.has(field)).length)} of ${count(([, , , , fields]) => fields.length)} seen; ${CASES.length} cases`)
  })
})
