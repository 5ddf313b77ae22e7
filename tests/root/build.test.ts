/** Builds with real steps: the cache, stages at the same time, what a step sees, cancelling, killing, pruning, and nothing left behind. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { freshFolder } from '../build-folder.ts'
import { disposeClean } from '../census.ts'
import { exec, ownClient, type Ran, root, serveBeside, type TestDaemon, testDaemon, until } from '../harness.ts'
import { encodeHeader, padding } from '@gantry/graph'
import { tarOf } from '../image-archive.ts'

function fileInTar(path: string, content: string): readonly Buffer[] {
  return [encodeHeader({ path, type: 'file', mode: 0o644, uid: 0, gid: 0, size: content.length, mtimeSeconds: 1, mtimeNanos: 0, link: '', major: 0, minor: 0, xattrs: new Map() }), Buffer.from(content), padding(content.length)]
}

describe('building', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let daemon: TestDaemon
  let gantry: ReturnType<typeof ownClient>['gantry']
  let ok: ReturnType<typeof ownClient>['ok']
  let folder = ''
  before(async () => {
    daemon = await testDaemon()
    ;({ gantry, ok } = ownClient(() => daemon))
    folder = `${daemon.home}/context`
  })
  after(async () => {
    for (const name of (await ok('images', '-aq')).split('\n').filter((one) => one !== '')) await gantry('rmi', '-f', name)
    await ok('builder', 'prune', '-af')
    await disposeClean(daemon)
  })
  const context = (files: Readonly<Record<string, string>>): void => freshFolder(folder, files)
  const build = (...flags: readonly string[]): Promise<Ran> => gantry('build', ...flags, folder)
  const built = async (...flags: readonly string[]): Promise<string> => {
    const ran = await build(...flags)
    assert.equal(ran.code, 0, ran.err)
    return ran.err
  }
  /** Names of steps, with what became of each. */
  const outcomes = (log: string): Readonly<Record<string, string>> => {
    const names = new Map([...log.matchAll(/^#(\d+) \[[^\]]*\] (.*)$/gm)].map((match) => [match[1], match[2] ?? '']))
    return Object.fromEntries([...log.matchAll(/^#(\d+) (CACHED|DONE|ERROR)/gm)].map((match) => [names.get(match[1]) ?? '', match[2] ?? '']))
  }

  it('the same again is the same image; a change costs what stands above it', async () => {
    context({ Dockerfile: 'FROM busybox\nCOPY a /a\nRUN date +%N >/stamp\nCOPY b /b\nRUN cat /b >/c\nCMD ["cat", "/c"]\n', a: 'a', b: 'b' })
    await built('-t', 'c:1')
    const id = await ok('inspect', '--format', '{{.Id}}', 'c:1')
    assert.deepEqual(Object.values(outcomes(await built('-t', 'c:2'))).filter((one) => one !== 'CACHED'), ['DONE'], 'only FROM')
    assert.equal(await ok('inspect', '--format', '{{.Id}}', 'c:2'), id)
    writeFileSync(`${folder}/b`, 'B')
    const changed = outcomes(await built('-t', 'c:3'))
    assert.deepEqual([changed['COPY a /a'], changed['RUN date +%N >/stamp'], changed['COPY b /b'], changed['RUN cat /b >/c']], ['CACHED', 'CACHED', 'DONE', 'DONE'])
    assert.equal(await ok('run', '--rm', 'c:3'), 'B')
    writeFileSync(`${folder}/b`, 'b')
    await built('-t', 'c:4')
    assert.equal(await ok('inspect', '--format', '{{.Id}}', 'c:4'), id)
    assert.equal(outcomes(await built('--no-cache', '-t', 'c:5'))['COPY a /a'], 'DONE')
    assert.notEqual(await ok('inspect', '--format', '{{.Id}}', 'c:5'), id)
  })
  it('what a stage comes to counts, not how: the next one is not run again', async () => {
    context({ Dockerfile: 'FROM busybox AS make\nCOPY src /src\nRUN grep -v comment /src >/out; true\nFROM busybox\nCOPY --from=make /out /out\nRUN date +%N >/stamp\n', src: 'code\n' })
    await built('-t', 's:1')
    writeFileSync(`${folder}/src`, 'code\ncomment\n')
    const again = outcomes(await built('-t', 's:2'))
    assert.deepEqual([again['RUN grep -v comment /src >/out; true'], again['COPY --from=make /out /out'], again['RUN date +%N >/stamp']], ['DONE', 'CACHED', 'CACHED'])
    assert.equal(await ok('inspect', '--format', '{{.Id}}', 's:1'), await ok('inspect', '--format', '{{.Id}}', 's:2'))
  })
  it('what a base asks for with ONBUILD is done first, also with stages of the file', async () => {
    context({ Dockerfile: 'FROM busybox\nONBUILD COPY f /from-context\nONBUILD COPY --from=tools /tool /tool\nONBUILD RUN cat /from-context /tool >/both\n' })
    await built('-t', 'onbuild:1')
    context({ Dockerfile: 'FROM busybox AS tools\nRUN echo tool >/tool\nFROM onbuild:1\nRUN cp /both /again\n', f: 'file\n' })
    await built('-t', 'onbuild:2')
    assert.equal(await ok('run', '--rm', 'onbuild:2', 'cat', '/again'), 'file\ntool')
    assert.equal(await ok('inspect', '--format', '{{json .Config.OnBuild}}', 'onbuild:2'), 'null')
  })
  it('stages that do not need each other run at the same time', async () => {
    const stage = (name: string): string => `FROM busybox AS ${name}\nRUN --mount=type=cache,target=/meet touch /meet/${name}; for n in $(seq 100); do [ -e /meet/a ] && [ -e /meet/b ] && [ -e /meet/c ] && echo met >/${name} && exit 0; sleep 0.1; done; exit 1\n`
    context({ Dockerfile: `${stage('a')}${stage('b')}${stage('c')}FROM busybox\nCOPY --from=a /a /\nCOPY --from=b /b /\nCOPY --from=c /c /\n` })
    await built('-t', 'p:1')
    assert.equal(await ok('run', '--rm', 'p:1', 'cat', '/a', '/b', '/c'), 'met\nmet\nmet')
  })
  it('our client sends only files that are not there; lists and offers are checked', async () => {
    context({ Dockerfile: 'FROM busybox\nCOPY . /all\n', 'd/a': 'a', 'd/b': 'b', '.dockerignore': 'ignored\n', ignored: 'x' })
    await built('-t', 'offer:1')
    const row = (path: string, size: number, time: string): string => `${0o100644} 0 0 ${size} ${time}\0${path}\0\0`
    const offer = (list: string, from = 'test'): Promise<{ readonly id: string; readonly wanted: readonly number[] }> => daemon.api.json('POST', '/build/context', { query: { from }, body: Buffer.from(list), contentType: 'application/octet-stream' })
    const dockerfile = 'FROM scratch\nCOPY one two /\n'
    const list = row('Dockerfile', dockerfile.length, '1') + row('one', 3, '2') + row('two', 3, '3')
    const first = await offer(list)
    assert.deepEqual(first.wanted, [0, 1, 2])
    const take = async (id: string, files: Readonly<Record<string, string>>): Promise<string> => {
      const response = await daemon.api.send('POST', '/build', { query: { offer: id, t: 'offered' }, body: Buffer.concat([...Object.entries(files).flatMap(([path, content]) => fileInTar(path, content)), Buffer.alloc(1024)]), contentType: 'application/x-tar' })
      let said = ''
      for await (const chunk of response) said += String(chunk)
      return said
    }
    assert.match(await take(first.id, { Dockerfile: dockerfile, one: 'one', two: 'two' }), /Successfully built/)
    const again = await offer(list)
    assert.deepEqual(again.wanted, [])
    assert.match(await take(again.id, {}), /Using cache/)
    const touched = await offer(row('Dockerfile', dockerfile.length, '1') + row('one', 3, '9') + row('two', 3, '3'))
    assert.deepEqual(touched.wanted, [1])
    await assert.rejects(take(touched.id, {}), /content of 1 files has not come/)
    await assert.rejects(take(touched.id, {}), /it was not made, or it was taken/)
    assert.deepEqual((await offer(list, 'elsewhere')).wanted, [0, 1, 2], 'what is in one place says nothing of another')
    await assert.rejects(offer(row('../x', 1, '1')), /leads outside/)
    await assert.rejects(offer('nonsense'), /cut off/)
  })
  it('secrets, further contexts and stages that are built anew, with our own client', async () => {
    context({ Dockerfile: 'FROM base AS first\nRUN date +%N >/first\nFROM first AS last\nCOPY --from=more f /f\nRUN --mount=type=secret,id=key wc -c </run/secrets/key >/size\nRUN date +%N >/last\n', 'more/f': 'from more' })
    writeFileSync(`${daemon.home}/key`, 'very secret content\n')
    const flags = ['--build-context', `more=${folder}/more`, '--build-context', 'base=docker-image://busybox', '--secret', `id=key,src=${daemon.home}/key`] as const
    await built('-t', 's:1', ...flags)
    assert.equal(await ok('run', '--rm', 's:1', 'cat', '/f', '/size'), 'from more20')
    const anew = outcomes(await built('--no-cache-filter', 'last', ...flags))
    assert.deepEqual([anew['RUN date +%N >/first'], anew['RUN date +%N >/last']], ['CACHED', 'DONE'])
    const saved = `${daemon.home}/s.tar`
    await ok('save', '-o', saved, 's:1')
    assert.ok(!readFileSync(saved).includes('very secret'))
    assert.match((await build('--secret', 'src=x')).err, /invalid secret "src=x": expected id=NAME/)
    assert.match((await build('--build-context', 'more=/not/there')).err, /context more: "\/not\/there": expected docker-image/)
    await assert.rejects(daemon.api.json('POST', '/build', { query: { secrets: 'none', contexts: '{}' }, body: Buffer.concat([...fileInTar('Dockerfile', 'FROM scratch\n'), Buffer.alloc(1024)]), contentType: 'application/x-tar' }), /have not come, or they are too old/)
  })
  it('names of one file stay names of one file: of a context, of an archive', async () => {
    context({ Dockerfile: 'FROM busybox\nCOPY d /d/\nADD links.tar /a/\nRUN stat -c "%n %h" /d/one /d/two /a/one /a/two >/links; cmp /d/one /d/two; cmp /a/one /a/two\n', 'd/one': 'content' })
    linkSync(`${folder}/d/one`, `${folder}/d/two`)
    execFileSync('tar', ['-cf', `${folder}/links.tar`, '-C', `${folder}/d`, 'one', 'two'])
    for (const make of [() => built('-t', 'links'), async () => void (await daemon.api.send('POST', '/build', { query: { t: 'links', nocache: true }, body: execFileSync('tar', ['-c', '-C', folder, '.']), contentType: 'application/x-tar' })).resume()]) {
      await make()
      assert.equal(await ok('run', '--rm', 'links', 'cat', '/links'), '/d/one 2\n/d/two 2\n/a/one 2\n/a/two 2')
    }
  })
  it('a step is a container like any other, that nobody lists, and leaves no trace of its mounts', async () => {
    context({ Dockerfile: 'FROM busybox\nRUN --mount=type=cache,target=/var/cache/x --mount=type=tmpfs,target=/scratch grep -E "^(Seccomp|CapEff|NoNewPrivs):" /proc/self/status >/status; cat /proc/self/cgroup >/cgroup; sleep 1\nRUN ls -d /scratch /var/cache >/left 2>&1; true\n' })
    const listed: string[] = []
    const running = build('-t', 'k:1')
    await until('the step runs', async () => {
      listed.push(await ok('ps', '-aq'))
      return readFileSync('/proc/mounts', 'utf8').includes(`${daemon.home}/x`) || (await gantry('jobs')).out.includes('build.image')
    })
    assert.equal((await running).code, 0)
    assert.deepEqual(listed.filter((text) => text !== ''), [])
    const plain = await ok('run', '--rm', 'busybox', 'grep', '-E', '^(Seccomp|CapEff|NoNewPrivs):', '/proc/self/status')
    assert.equal(await ok('run', '--rm', 'k:1', 'cat', '/status'), plain)
    assert.doesNotMatch(await ok('run', '--rm', 'k:1', 'cat', '/left'), /^\/(scratch|var\/cache)$/m)
    assert.equal(await ok('ps', '-aq'), '')
  })
  it('a client that goes takes its build along; a step that fails says how', async () => {
    context({ Dockerfile: 'FROM busybox\nRUN touch /begun; sleep 98761\n' })
    const child = spawn(`${root}/build/node`, ['--', `${root}/build/gantry.cjs`, '-H', daemon.host, 'build', folder], { stdio: 'ignore' })
    const sleeping = (): boolean => execFileSync('sh', ['-c', `pgrep -fx 'sleep 98761' || true`], { encoding: 'utf8' }).trim() !== ''
    await until('the step runs', sleeping)
    child.kill('SIGINT')
    await until('the step is gone', () => !sleeping())
    await until('no build runs', async () => !/build\.image\s+running/.test((await gantry('jobs')).out))
    context({ Dockerfile: 'FROM busybox\nRUN echo before; exit 9\n' })
    const failed = await build('-t', 'f:1')
    assert.equal(failed.code, 9)
    assert.match(failed.err, /before[\s\S]*returned a non-zero code: 9[\s\S]*Dockerfile:2\n.*\n 2 \| RUN echo before; exit 9\n {3}\| \^\^\^/)
    assert.equal((await gantry('inspect', 'f:1')).code, 1)
  })
  it('kill -9 in the middle: the next daemon removes what was left, and the cache serves', async () => {
    context({ Dockerfile: 'FROM busybox\nRUN date +%N >/stamp\nRUN touch /begun; sleep 98762\n' })
    const running = build()
    await until('the second step runs', () => execFileSync('sh', ['-c', "pgrep -fx 'sleep 98762' || true"], { encoding: 'utf8' }).trim() !== '')
    await daemon.kill()
    assert.notEqual((await running).code, 0)
    await daemon.start()
    assert.equal(execFileSync('sh', ['-c', "pgrep -fx 'sleep 98762' || true"], { encoding: 'utf8' }).trim(), '')
    assert.equal(await ok('ps', '-aq'), '')
    context({ Dockerfile: 'FROM busybox\nRUN date +%N >/stamp\nRUN true\n' })
    assert.equal(outcomes(await built())['RUN date +%N >/stamp'], 'CACHED')
  })
  it('hostile contexts and Dockerfiles stay inside', async () => {
    const outside = `${daemon.home}/outside`
    writeFileSync(outside, 'outside')
    const send = async (archive: Buffer): Promise<Ran> => {
      writeFileSync(`${daemon.home}/hostile.tar`, archive)
      return exec('sh', ['-c', `exec "$0" -- "$1" -H "$2" build -t h:1 - <"$3"`, `${root}/build/node`, `${root}/build/gantry.cjs`, daemon.host, `${daemon.home}/hostile.tar`])
    }
    const dockerfile = (text: string): { readonly path: string; readonly content: string } => ({ path: 'Dockerfile', content: text })
    const climbing = await send(tarOf(dockerfile('FROM busybox\nCOPY . /c/\n'), { path: '../climbed', content: 'x' }))
    assert.match(climbing.err, /leads outside/)
    assert.ok(!existsSync(`${daemon.home}/climbed`))
    // Links in a context lead nowhere but into the context.
    const linking = await send(tarOf(dockerfile('FROM busybox\nCOPY leak /leak\n'), { path: 'leak', type: 'link', link: outside }))
    assert.match(linking.err, /"\/leak": not found/)
    const within = await send(tarOf(dockerfile('FROM busybox\nCOPY . /c/\n'), { path: 'leak', type: 'link', link: outside }))
    assert.equal(within.code, 0, within.err)
    assert.equal((await gantry('run', '--rm', 'h:1', 'cat', '/c/leak')).code, 1)
    // Links of an image lead nowhere but into the image.
    context({ Dockerfile: `FROM busybox\nRUN ln -s ${daemon.home} /evil && ln -s ../../../../../../etc /up\nCOPY f /evil/outside\nCOPY f /up/placed\n`, f: 'inside' })
    await built('-t', 'h:2')
    assert.equal(readFileSync(outside, 'utf8'), 'outside')
    assert.ok(!existsSync('/etc/placed'))
    assert.equal(await ok('run', '--rm', 'h:2', 'cat', `${daemon.home}/outside`, '/etc/placed'), 'insideinside')
    for (const [text, message] of [['FROM busybox\nRUN --security=insecure id\n', /security\.insecure is not allowed/], ['FROM busybox\nRUN --mount=type=bind,source=../..,target=/x ls /x\n', /not found|Dockerfile/]] as const) {
      context({ Dockerfile: text })
      const ran = await build('--progress', 'plain')
      if (ran.code !== 0) assert.match(ran.err, message)
      else assert.doesNotMatch(ran.err, /outside/)
    }
  })
  it('ADD takes archives apart, and files from URLs with their digests', async () => {
    writeFileSync(`${daemon.home}/served.txt`, 'served')
    const server = await serveBeside(daemon, '-e', `require('node:http').createServer((q, r) => { const b = require('node:fs').readFileSync('${daemon.home}/served.txt'); r.writeHead(q.url === '/served.txt' ? 200 : 404, { 'content-length': b.length, 'last-modified': 'Tue, 02 Jan 2024 03:04:05 GMT' }).end(b) }).listen(5009, '127.0.0.1', () => console.log('ready'))`)
    try {
      context({ 'in/one': '1', 'in/two': '2' })
      execFileSync('tar', ['-czf', `${folder}/packed.tgz`, '-C', `${folder}/in`, 'one', 'two'])
      writeFileSync(`${folder}/plain.gz`, execFileSync('gzip', ['-c'], { input: 'not an archive' }))
      const digest = 'sha256:1dd72bdbb7e2d9eb0e1d8b4c2c0e4a7a8a7b0b0b0b0b0b0b0b0b0b0b0b0b0b0b'
      writeFileSync(`${folder}/Dockerfile`, 'FROM busybox\nADD packed.tgz /unpacked/\nCOPY packed.tgz /kept/\nADD plain.gz /gz/\nADD http://127.0.0.1:5009/served.txt /url/\nRUN ls /unpacked /kept /gz /url >/list && stat -c "%a %Y" /url/served.txt >/stat\n')
      await built('-t', 'a:1')
      assert.equal(await ok('run', '--rm', 'a:1', 'cat', '/list', '/stat'), '/gz:\nplain.gz\n\n/kept:\npacked.tgz\n\n/unpacked:\none\ntwo\n\n/url:\nserved.txt\n600 1704164645')
      for (const program of ['xz', 'bzip2'].filter((one) => existsSync(`/usr/bin/${one}`))) {
        writeFileSync(`${folder}/packed.${program}`, execFileSync(program, ['-c'], { input: execFileSync('gzip', ['-dc', `${folder}/packed.tgz`]) }))
        writeFileSync(`${folder}/plain.${program}`, execFileSync(program, ['-c'], { input: 'not an archive' }))
        writeFileSync(`${folder}/Dockerfile`, `FROM busybox\nADD packed.${program} plain.${program} /a/\nRUN ls /a >/list\n`)
        await built('-t', 'a:2')
        assert.equal(await ok('run', '--rm', 'a:2', 'cat', '/list'), `one\nplain.${program}\ntwo`)
      }
      writeFileSync(`${folder}/Dockerfile`, `FROM busybox\nADD --checksum=${digest} http://127.0.0.1:5009/served.txt /url/\n`)
      assert.match((await build()).err, /digest mismatch/)
      writeFileSync(`${folder}/Dockerfile`, 'FROM busybox\nADD http://127.0.0.1:5009/none /url/\n')
      assert.match((await build()).err, /the server answered 404/)
    } finally {
      server.kill('SIGTERM')
    }
  })
  it('repositories: as contexts and with ADD, at a branch, a tag or a commit, below a directory', { skip: existsSync('/usr/bin/git') ? false : 'needs git' }, async () => {
    const repository = `${daemon.home}/repositories/project.git`
    mkdirSync(`${repository}/app`, { recursive: true })
    const git = (...words: readonly string[]): string => execFileSync('git', ['-C', repository, '-c', 'user.name=a', '-c', 'user.email=a@b', ...words], { encoding: 'utf8' }).trim()
    git('init', '-q', '-b', 'main')
    writeFileSync(`${repository}/Dockerfile`, 'FROM busybox\nCOPY . /top/\n')
    writeFileSync(`${repository}/app/Dockerfile`, 'FROM busybox\nCOPY . /app/\n')
    git('add', '.')
    git('commit', '-qm', 'one')
    const first = git('rev-parse', 'HEAD')
    git('tag', 'v1')
    writeFileSync(`${repository}/later`, 'later')
    git('add', '.')
    git('commit', '-qm', 'two')
    const server = await serveBeside(daemon, '-e', `const child = require('node:child_process').spawn('git', ['daemon', '--export-all', '--reuseaddr', '--listen=127.0.0.1', '--port=5010', '--base-path=${daemon.home}/repositories', '--informative-errors'], { stdio: 'ignore' }); process.on('SIGTERM', () => { child.kill(); process.exit() }); const again = () => require('node:net').connect(5010, '127.0.0.1').on('connect', () => console.log('ready')).on('error', () => setTimeout(again, 50)); again()`)
    try {
      const listed = async (source: string): Promise<string> => {
        const ran = await gantry('build', '-t', 'g:1', source)
        assert.equal(ran.code, 0, ran.err)
        return (await ok('run', '--rm', 'g:1', 'sh', '-c', 'cd /top 2>/dev/null || cd /app; ls -A')).replaceAll('\n', ' ')
      }
      assert.equal(await listed('git://127.0.0.1:5010/project.git'), 'Dockerfile app later')
      assert.equal(await listed('git://127.0.0.1:5010/project.git#v1'), 'Dockerfile app')
      assert.equal(await listed(`git://127.0.0.1:5010/project.git#${first}:app`), 'Dockerfile')
      context({ Dockerfile: 'FROM busybox\nADD git://127.0.0.1:5010/project.git#main /src\nADD --keep-git-dir=true git://127.0.0.1:5010/project.git#v1:app /other\n' })
      await built('-t', 'g:2')
      assert.equal((await ok('run', '--rm', 'g:2', 'ls', '-A', '/src')).replaceAll('\n', ' '), 'Dockerfile app later')
      assert.match((await gantry('build', 'git://127.0.0.1:5010/project.git#nowhere')).err, /cannot fetch git:\/\/127\.0\.0\.1:5010\/project\.git#nowhere/)
      assert.match((await gantry('build', 'git://127.0.0.1:5010/project.git#main:../..')).err, /leads out of the repository/)
      assert.match((await gantry('build', 'git://127.0.0.1:5010/project.git#--upload-pack=x')).err, /expected URL#REF:DIRECTORY/)
    } finally {
      server.kill('SIGTERM')
    }
  })
  it('SOURCE_DATE_EPOCH makes the same image of the same files, whenever it is built', async () => {
    context({ Dockerfile: 'FROM busybox\nWORKDIR /w/x\nCOPY f /new/dir/f\nLABEL a=b\n', f: 'f' })
    const id = async (tag: string): Promise<string> => {
      await built('--no-cache', '--build-arg', 'SOURCE_DATE_EPOCH=1700000000', '-t', tag)
      return ok('inspect', '--format', '{{.Id}} {{.Created}}', tag)
    }
    const first = await id('e:1')
    await new Promise((resolve) => setTimeout(resolve, 1100))
    assert.equal(await id('e:2'), first)
    assert.match(first, /2023-11-14T22:13:20/)
  })
  it('the cache is accounted for and pruned; images stay whole', async () => {
    context({ Dockerfile: 'FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=5 2>/dev/null; true\nRUN rm /big; echo x >/x\n' })
    await built('-t', 'd:1')
    const usage = JSON.parse(await ok('system', 'df', '-v', '--format', 'json')) as { readonly BuildCache: readonly { readonly ID: string; readonly Size: number; readonly Shared: boolean; readonly Description: string }[] }
    const big = usage.BuildCache.find((one) => one.Description.includes('dd if=/dev/zero'))
    assert.ok((big?.Size ?? 0) >= 5 << 20 && big?.Shared === true, JSON.stringify(usage.BuildCache))
    assert.equal((await daemon.api.json<{ readonly CachesDeleted: readonly string[] | null }>('POST', '/build/prune', { query: { 'keep-storage': 1 << 30 } })).CachesDeleted, null)
    await ok('builder', 'prune', '-f', '--filter', 'until=24h')
    assert.notEqual((JSON.parse(await ok('system', 'df', '-v', '--format', 'json')) as typeof usage).BuildCache.length, 0)
    assert.match((await gantry('builder', 'prune', '-f', '--filter', 'shared=true')).err, /invalid filter 'shared'/)
    assert.match(await ok('builder', 'prune', '-f', '--filter', 'until=0s'), /Total reclaimed space/)
    assert.deepEqual((JSON.parse(await ok('system', 'df', '-v', '--format', 'json')) as typeof usage).BuildCache, [])
    assert.equal(await ok('run', '--rm', 'd:1', 'cat', '/x'), 'x')
    assert.equal(outcomes(await built('-t', 'd:2'))['RUN rm /big; echo x >/x'], 'DONE')
  })
  it('--check looks a Dockerfile through; a foreign platform is refused where nothing emulates it', async () => {
    context({ Dockerfile: 'FROM busybox\nCMD echo $A\n' })
    const checked = await build('--check')
    assert.equal(checked.code, 1)
    assert.match(checked.out, /^WARNING: JSONArgsRecommended\n.*\nDockerfile:2\n[\s\S]*Check complete, 1 warning has been found!\n$/)
    context({ Dockerfile: '# check=error=true\nFROM busybox\nCMD echo $A\n' })
    assert.match((await build()).err, /lint violation found for rules: JSONArgsRecommended/)
    context({ Dockerfile: 'FROM busybox\nCMD ["true"]\n' })
    assert.deepEqual(await build('--check'), { code: 0, out: 'Check complete, no warnings found.\n', err: '' })
    if (existsSync('/proc/sys/fs/binfmt_misc/qemu-s390x')) return
    context({ Dockerfile: 'FROM scratch\nCOPY Dockerfile /d\nRUN ["/d"]\n' })
    assert.match((await build('--platform', 'linux/s390x')).err, /programs of linux\/s390x do not run here/)
    context({ Dockerfile: 'FROM scratch\nCOPY Dockerfile /d\n' })
    await built('--platform', 'linux/s390x', '-t', 'far:1')
    assert.equal(await ok('inspect', '--format', '{{.Architecture}}', 'far:1'), 's390x')
  })
  it('build arguments, labels, targets, names and ids; -f from elsewhere and from standard input', async () => {
    context({ Dockerfile: 'FROM busybox AS one\nARG A=none\nLABEL a=$A\nFROM one AS two\nLABEL two=2\n' })
    writeFileSync(`${daemon.home}/Other`, 'FROM busybox\nCOPY Dockerfile /copied\nLABEL other=1\n')
    await built('--build-arg', 'A=given', '--label', 'l=m', '--target', 'one', '-t', 'n:1', '-t', 'other/n:2', '--iidfile', `${daemon.home}/iid`)
    assert.equal(await ok('inspect', '--format', '{{json .Config.Labels}}', 'n:1'), '{"a":"given","l":"m"}')
    assert.equal(readFileSync(`${daemon.home}/iid`, 'utf8'), await ok('inspect', '--format', '{{.Id}}', 'other/n:2'))
    await built('-f', `${daemon.home}/Other`, '-t', 'n:3')
    assert.equal(await ok('inspect', '--format', '{{json .Config.Labels}}', 'n:3'), '{"other":"1"}')
    const piped = await exec('sh', ['-c', `printf 'FROM busybox\\nLABEL piped=1\\n' | "$0" -- "$1" -H "$2" build -q -`, `${root}/build/node`, `${root}/build/gantry.cjs`, daemon.host])
    assert.match(piped.out, /^sha256:[0-9a-f]{64}\n$/)
    assert.match(await built('--build-arg', 'UNUSED=1'), /One or more build-args \["UNUSED"\] were not consumed/)
    assert.match((await gantry('build', `${daemon.home}/none`)).err, /path ".*none" not found/)
    assert.match((await build('-f', `${folder}/none`)).err, /no such file or directory/)
    assert.match(await built('--trace'), /Critical path, \d+\.\ds in all:\n.*FROM busybox AS one/)
  })
})
