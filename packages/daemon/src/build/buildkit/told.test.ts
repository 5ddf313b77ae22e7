import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { GO_MODE, writeStat } from '@gantry/buildkit'
import { listedFile } from './client-files.ts'
import { createBuilds, definitionOf, resultNamed, type SolveRequest } from './builds.ts'
import { frontendRequest } from './attributes.ts'
import { createHistory } from './history.ts'
import { openStatusLog } from './status-log.ts'
import { answerQuestion } from '../questions.ts'

const never = new AbortController().signal
const request = (Ref: string): SolveRequest => ({ Ref, Session: 's', Frontend: '', FrontendAttrs: {}, FrontendInputs: {}, Entitlements: [], Exporters: [], ExporterDeprecated: '', ExporterAttrsDeprecated: {}, Internal: false })

describe('what clients of BuildKit are told', () => {
  it('a log is read from its beginning, while it goes on and when it has ended', async () => {
    const log = openStatusLog('ref')
    const first = log.open('first')
    const heard: string[] = []
    const reading = (async () => {
      for await (const event of log.read(never)) heard.push(...(event.vertexes ?? []).map((one) => `${one.name} ${one.completed === undefined ? 'begun' : 'done'}`), ...(event.logs ?? []).map((one) => Buffer.from(one.msg).toString()))
    })()
    await new Promise((resolve) => setImmediate(resolve))
    first.log(1, Buffer.from('said'))
    await new Promise((resolve) => setImmediate(resolve))
    first.done()
    log.end()
    await reading
    assert.deepEqual(heard, ['first begun', 'said', 'first done'])
    let again = 0
    for await (const event of log.read(never)) again += (event.vertexes ?? []).length
    assert.equal(again, 2)
    assert.deepEqual(log.counts(), { total: 1, completed: 1, cached: 0, warnings: 0 })
  })
  it('output of a step is clipped, and that is said', () => {
    const log = openStatusLog('ref')
    const step = log.open('step')
    for (let index = 0; index < 50; index++) step.log(1, Buffer.alloc(100_000, 'x'))
    const texts = log.events.flatMap((event) => event.logs ?? [])
    assert.ok(texts.length < 25)
    assert.match(Buffer.from(texts.at(-1)?.msg ?? '').toString(), /output clipped/)
  })
  it('a client may ask for a build before it has begun, and after it has ended', async () => {
    const builds = createBuilds()
    const early = builds.logOf('one', never)
    const build = builds.begin(request('one'), never)
    assert.equal(await early, build.log)
    assert.throws(() => builds.begin(request('one'), never), /no other build has/)
    builds.end(build)
    assert.equal(await builds.logOf('one', never), build.log)
    await assert.rejects(builds.find('none', AbortSignal.abort()), /no such job none/)
  })
  it('history keeps so many builds, and pinned ones', () => {
    const history = createHistory()
    const builds = createBuilds()
    const { UpdateBuildHistory: update } = history.methods(() => [])
    for (let index = 0; index < 60; index++) {
      history.add({ build: builds.begin(request(`r${index}`), never), endedAt: 0, error: '', answer: {} })
      if (index === 0) update?.({ Ref: 'r0', Pinned: true, Delete: false } as never, {} as never)
    }
    assert.deepEqual([history.events('r0') !== undefined, history.events('r5'), history.events('r59') !== undefined], [true, undefined, true])
    update?.({ Ref: 'r59', Pinned: false, Delete: true } as never, {} as never)
    assert.equal(history.events('r59'), undefined)
  })
  it('attributes are read, and what is not there is refused by name', () => {
    const read = frontendRequest({ filename: 'D', 'build-arg:A': '1', 'build-arg:BUILDKIT_INLINE_CACHE': '1', 'label:l': 'v', 'add-hosts': 'a=1.2.3.4,b=::1', 'no-cache': 'one,two', ulimit: 'nofile=1:2', context: 'local:src', 'context:base': 'docker-image://x' })
    assert.deepEqual([[...read.buildArgs], read.labels, read.hosts, read.noCache, [...read.noCacheStages], read.resources.ulimits, read.contextDirectory, read.inlineCache], [[['A', '1'], ['BUILDKIT_INLINE_CACHE', '1']], { l: 'v' }, ['a:1.2.3.4', 'b:::1'], false, ['one', 'two'], [{ Name: 'nofile', Soft: 1, Hard: 2 }], 'src', true])
    assert.throws(() => frontendRequest({ platform: 'linux/amd64,linux/arm64' }), /expected one/)
    assert.throws(() => frontendRequest({ 'attest:sbom': '' }), /attestations/)
    assert.throws(() => frontendRequest({ ulimit: 'x' }), /expected NAME=SOFT/)
  })
  it('files of a client: kinds, names of one file, and no way out', () => {
    const stat = (path: string, mode: number, linkname = ''): Uint8Array => writeStat({ path, mode, uid: 1, gid: 2, size: 3, modTime: 1_500_000_000n, linkname, xattrs: new Map() })
    const read = (path: string, mode: number, linkname?: string): unknown => {
      const file = listedFile(stat(path, mode, linkname))
      return file === undefined ? undefined : [file.path, file.node.type, file.node.mode, file.node.size, file.node.link, file.same]
    }
    assert.deepEqual(read('a/b', 0o644), ['a/b', 'file', 0o644, 3, '', undefined])
    assert.deepEqual(read('d', GO_MODE.directory + GO_MODE.sticky + 0o777), ['d', 'directory', 0o1777, 0, '', undefined])
    assert.deepEqual(read('l', GO_MODE.link + 0o777, '/etc'), ['l', 'link', 0o777, 0, '/etc', undefined])
    assert.deepEqual(read('h', GO_MODE.setUid + 0o755, 'a/b'), ['h', 'file', 0o4755, 3, '', 'a/b'])
    for (const kind of [GO_MODE.device, GO_MODE.pipe, GO_MODE.socket]) assert.equal(read('x', kind + 0o600), undefined)
    for (const path of ['../x', 'a/../../x', '', 'a//b', './a']) assert.throws(() => read(path, 0o644), /leads outside/)
    assert.throws(() => read('h', 0o644, '../h'), /leads outside/)
  })
  it('results have names that a definition carries; other definitions name none', () => {
    const { def } = definitionOf('abc') as { readonly def: readonly Uint8Array[] }
    const identifiers = ['gantry-result://abc', '']
    assert.equal(resultNamed({ def }, () => ({ source: { identifier: identifiers.shift() ?? '' } })), 'abc')
    assert.equal(resultNamed({ def }, () => ({ source: { identifier: 'docker-image://x' } })), undefined)
  })
  it('questions about a Dockerfile are answered without a build', () => {
    const file = { name: 'Dockerfile', bytes: Buffer.from('ARG V=1\nFROM busybox:$V AS base\nRUN --mount=type=secret,id=key,required=true true\nFROM scratch\nARG W\nCOPY --from=base /x /\n') }
    const options = { target: '', ignores: () => false }
    const json = (question: string, more: Partial<typeof options> = {}): Record<string, readonly Record<string, unknown>[]> => JSON.parse(answerQuestion(question, file, new Map(), { ...options, ...more })['result.json']?.toString() ?? '')
    assert.deepEqual(json('frontend.targets')['targets']?.map((one) => [one['name'], one['default']]), [['base', undefined], [undefined, true]])
    assert.deepEqual(json('frontend.outline')['secrets']?.map((one) => [one['name'], one['required']]), [['key', true]])
    assert.deepEqual(json('frontend.outline')['args']?.map((one) => one['name']), ['V', 'W'])
    assert.deepEqual(json('frontend.outline', { target: 'base' })['args']?.map((one) => one['name']), ['V'])
    assert.throws(() => answerQuestion('frontend.other', file, new Map(), options), /expected one of frontend\.lint/)
  })
})
