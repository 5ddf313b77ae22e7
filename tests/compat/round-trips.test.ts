/**
 * Images on their way between engines and back: ours, dockerd, Podman and skopeo, over our registry and Debian's docker-registry, and
 * in archives. The image is the same at the end, and so is each of its files with all that belongs to it.
 *
 * Peers are read from the folder in $GANTRY_PEERS, as the benchmarks have them.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { ENGINES, type ImageEngine, inside } from '../../bench/image-engines.ts'
import { LOWER, seen, type Seen, UPPER } from '../every-file.ts'
import { debianProgram } from './judges.ts'
import { dockerClient, exec, peer, peers, root, until } from '../harness.ts'
import { imageArchive, tarOf } from '../image-archive.ts'

const have = async (program: string): Promise<boolean> => (await exec('sh', ['-c', `command -v ${program}`])).code === 0
const debianRegistry = process.getuid?.() === 0 ? await debianProgram('docker-registry', '/usr/bin/docker-registry') : undefined
const skip = process.getuid?.() !== 0 ? 'needs root' : dockerClient() === undefined ? 'needs the docker client' : peer('dockerd') === undefined || peer('podman') === undefined ? 'needs dockerd and Podman in $GANTRY_PEERS' : debianRegistry === undefined || !(await have('skopeo')) ? 'needs docker-registry and skopeo' : false
const [OURS, DEBIANS] = [5999, 5998]

/** The peers' exports have whole seconds from 1970 on, and no attributes of users. */
function asPeersExport(files: Seen): Seen {
  return Object.fromEntries(Object.entries(files).map(([path, text]) => [path, text.replace(/ (-?\d+)\.\d+ /, (_, seconds: string) => ` ${Math.max(0, Number(seconds))} `).replace(/user\.\w+=\w+/, '')]))
}

describe('round trips of images', { skip }, () => {
  let home = ''
  let namespace = ''
  const engines = new Map<string, ImageEngine>()
  const servers: ChildProcess[] = []
  let id = ''
  let files: Seen = {}

  /** The genuine client on an engine, in the engines' network. */
  const docker = async (name: string, ...words: readonly string[]): Promise<string> => {
    const ran = await exec('nsenter', inside(namespace, 'docker', '-H', `unix://${engines.get(name)?.socket}`, ...words), { env: { DOCKER_CONFIG: home } })
    assert.equal(ran.code, 0, `${name}: docker ${words.join(' ')}: ${ran.err}`)
    return ran.out.trimEnd()
  }
  const skopeo = async (...words: readonly string[]): Promise<void> => {
    const ran = await exec('nsenter', inside(namespace, 'skopeo', '--insecure-policy', 'copy', '--src-tls-verify=false', '--dest-tls-verify=false', ...words))
    assert.equal(ran.code, 0, ran.err)
  }
  /** The engine has the very image, with every file as it was; then it is taken away. */
  const check = async (name: string, reference: string, sameId = true): Promise<void> => {
    if (sameId) assert.equal((await docker(name, 'image', 'inspect', '-f', '{{.Id}}', reference)).replace(/^(sha256:)?/, 'sha256:'), id, name)
    await docker(name, 'create', '--name', 'look', reference, '/none')
    await docker(name, 'export', '-o', `${home}/export.tar`, 'look')
    await docker(name, 'rm', 'look')
    await docker(name, 'rmi', '-f', reference)
    const here = await seen(readFileSync(`${home}/export.tar`))
    assert.deepEqual(name === 'gantry' ? here : asPeersExport(here), name === 'gantry' ? files : asPeersExport(files), `files of ${reference} in ${name}`)
  }
  const loaded = async (name: string): Promise<void> => void (await docker(name, 'load', '-q', '-i', `${home}/image.tar`))

  before(async () => {
    home = mkdtempSync('/tmp/gtest-')
    namespace = home.slice('/tmp/'.length)
    execFileSync('ip', ['netns', 'add', namespace])
    execFileSync('ip', ['-n', namespace, 'link', 'set', 'lo', 'up'])
    writeFileSync(`${home}/debians.yml`, `version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ${home}/debians\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:${DEBIANS}\n`)
    servers.push(spawn('nsenter', inside(namespace, `${root}/build/node`, `${root}/build/gantry-registry.cjs`, 'serve', '-l', `127.0.0.1:${OURS}`, '--root', `${home}/ours`), { stdio: 'ignore' }))
    servers.push(spawn('nsenter', inside(namespace, debianRegistry ?? '', 'serve', `${home}/debians.yml`), { stdio: 'ignore' }))
    for (const name of ['gantry', 'dockerd', 'podman']) {
      mkdirSync(`${home}/${name}`)
      const start = ENGINES[name]
      if (start !== undefined) engines.set(name, await start(`${home}/${name}`, { peers, namespace, ports: [OURS, DEBIANS], flags: [] }))
    }
    for (const port of [OURS, DEBIANS]) await until(`the registry at ${port}`, async () => (await exec('nsenter', inside(namespace, `${root}/build/node`, '-e', `fetch('http://127.0.0.1:${port}/v2/').then(() => process.exit(0), () => process.exit(1))`))).code === 0)
    const made = imageArchive('trip:1', [tarOf(...LOWER), tarOf(...UPPER)])
    id = made.id
    writeFileSync(`${home}/image.tar`, made.archive)
    await loaded('gantry')
    await docker('gantry', 'create', '--name', 'look', 'trip:1', '/none')
    await docker('gantry', 'export', '-o', `${home}/export.tar`, 'look')
    files = await seen(readFileSync(`${home}/export.tar`))
    await docker('gantry', 'rm', 'look')
    await docker('gantry', 'rmi', 'trip:1')
  })
  after(async () => {
    for (const engine of engines.values()) await engine.stop()
    for (const server of servers) server.kill('SIGKILL')
    execFileSync('ip', ['netns', 'del', namespace])
    // Podman leaves a mount of its store.
    await exec('sh', ['-c', `for n in 1 2 3; do grep -o ' ${home}/[^ ]*' /proc/mounts | sort -r | xargs -r umount 2>/dev/null; done`])
    rmSync(home, { recursive: true, force: true })
  })

  for (const [registry, port] of [['our registry', OURS], ['docker-registry', DEBIANS]] as const) {
    for (const from of ['gantry', 'dockerd', 'podman']) {
      it(`${from} pushes to ${registry}; all three pull`, async () => {
        const reference = `127.0.0.1:${port}/${from}/trip:1`
        await loaded(from)
        await docker(from, 'tag', 'trip:1', reference)
        await docker(from, 'push', reference)
        await docker(from, 'rmi', '-f', reference, 'trip:1')
        for (const to of ['gantry', 'dockerd', 'podman']) {
          await docker(to, 'pull', reference)
          await check(to, reference)
        }
      })
    }
  }
  for (const from of ['gantry', 'dockerd', 'podman']) {
    it(`${from} saves; all three load`, async () => {
      await loaded(from)
      await docker(from, 'save', '-o', `${home}/saved.tar`, from === 'podman' ? 'localhost/trip:1' : 'trip:1')
      await docker(from, 'rmi', '-f', 'trip:1')
      for (const to of ['gantry', 'dockerd', 'podman']) {
        const name = /Loaded image: (\S+)/.exec(await docker(to, 'load', '-i', `${home}/saved.tar`))?.[1] ?? 'trip:1'
        await check(to, name)
      }
      rmSync(`${home}/saved.tar`)
    })
  }
  it('skopeo carries it between registries, folders and archives, with gzip and zstd', async () => {
    const at = (port: number, name: string): string => `docker://127.0.0.1:${port}/${name}:1`
    await skopeo(at(OURS, 'gantry/trip'), at(DEBIANS, 'copied/trip'))
    await skopeo(at(DEBIANS, 'copied/trip'), `oci:${home}/layout:trip`)
    await skopeo('--dest-compress', '--dest-compress-format', 'zstd', '--format', 'oci', `oci:${home}/layout:trip`, at(OURS, 'zstd/trip'))
    await skopeo(at(OURS, 'copied/trip').replace('copied', 'zstd'), `dir:${home}/folder`)
    for (const kind of ['docker-archive', 'oci-archive']) {
      await skopeo(at(DEBIANS, 'copied/trip'), `${kind}:${home}/${kind}.tar:127.0.0.1/archived:1`)
      const name = /Loaded image(?: ID)?: (\S+)/.exec(await docker('gantry', 'load', '-i', `${home}/${kind}.tar`))?.[1] ?? ''
      // Skopeo writes the configuration anew for OCI.
      await check('gantry', name, kind === 'docker-archive')
    }
    await docker('gantry', 'pull', `127.0.0.1:${DEBIANS}/copied/trip:1`)
    await check('gantry', `127.0.0.1:${DEBIANS}/copied/trip:1`)
    await docker('gantry', 'pull', `127.0.0.1:${OURS}/zstd/trip:1`)
    await docker('gantry', 'create', '--name', 'look', `127.0.0.1:${OURS}/zstd/trip:1`, '/none')
    await docker('gantry', 'export', '-o', `${home}/export.tar`, 'look')
    assert.deepEqual(await seen(readFileSync(`${home}/export.tar`)), files)
  })
})
