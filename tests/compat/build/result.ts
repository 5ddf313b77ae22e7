import { randomUUID } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { gzipSync } from 'node:zlib'
import { digester } from '../../../packages/std/src/index.ts'
import { encodeHeader, padding, readTar, type TarEntry } from '../../../packages/graph/src/index.ts'
import { exec, type Ran } from '../../harness.ts'
import type { BuildCase } from './cases.table.ts'

/** What a build came to: the image, or that it failed. */
export interface BuildResult {
  readonly failed: boolean
  readonly said: string
  readonly config: Readonly<Record<string, unknown>>
  readonly history: readonly string[]
  /** By path: type, mode, owner, size, link and digest. */
  readonly files: Readonly<Record<string, string>>
}

/** A client and what it is told to build with. */
export interface Builder {
  readonly client: readonly string[]
  readonly host: string
  readonly env: NodeJS.ProcessEnv
  readonly build: readonly string[]
}

const FIELDS = ['User', 'ExposedPorts', 'Env', 'Entrypoint', 'Cmd', 'Volumes', 'WorkingDir', 'Labels', 'StopSignal', 'Shell', 'Healthcheck', 'OnBuild']

const MEMBERS: readonly Partial<TarEntry>[] = [
  { path: 'd', type: 'directory', mode: 0o750, uid: 5, gid: 6 }, { path: 'd/f', mode: 0o640, uid: 5, gid: 7, size: 3 }, { path: './d/s', mode: 0o4755, size: 3 }, { path: 'l', type: 'link', mode: 0o777, link: 'd/f' },
  { path: 'h', type: 'hardlink', mode: 0o640, uid: 5, gid: 7, link: 'd/f' }, { path: 'without/a/directory', mode: 0o600, size: 3 }, { path: 'd/p', type: 'fifo', mode: 0o600, uid: 4 },
]

/** An archive (`tar`, `tgz`; `dot` with its own directory), or a packed file that is none (`gz`). */
function packed(kind: string): Buffer {
  const of = (given: Partial<TarEntry>): readonly Buffer[] => {
    const member: TarEntry = { path: '', type: 'file', mode: 0o644, uid: 0, gid: 0, size: 0, mtimeSeconds: 1_700_000_000, mtimeNanos: 0, link: '', major: 0, minor: 0, xattrs: new Map(), ...given }
    return [encodeHeader(member), ...(member.size === 0 ? [] : [Buffer.from('abc'), padding(member.size)])]
  }
  const archive = Buffer.concat([...(kind === 'dot' ? of({ path: './', type: 'directory', mode: 0o711, uid: 3, gid: 4 }) : []), ...MEMBERS.flatMap(of), Buffer.alloc(1024)])
  return kind === 'tar' || kind === 'dot' ? archive : gzipSync(kind === 'gz' ? Buffer.from('plain\n') : archive)
}

/** Puts a context on the disk; times are the same for everybody. */
export function writeContext(folder: string, { dockerfile, files = {} }: BuildCase): void {
  mkdirSync(folder, { recursive: true })
  for (const [path, content] of Object.entries({ Dockerfile: dockerfile, ...files })) {
    const at = `${folder}/${path}`
    mkdirSync(path.endsWith('/') ? at : dirname(at), { recursive: true })
    if (path.endsWith('/')) continue
    if (content.startsWith('=>')) writeFileSync(at, packed(content.slice(2)))
    else if (content.startsWith('->')) symlinkSync(content.slice(2), at)
    else writeFileSync(at, content, { mode: path.endsWith('.sh') ? 0o755 : 0o644 })
  }
  for (const path of ['private', 'private/in']) if (existsSync(`${folder}/${path}`)) chmodSync(`${folder}/${path}`, 0o710)
  execFileSync('find', [folder, '-exec', 'touch', '-h', '-d', '2024-01-02 03:04:05', '{}', '+'])
}

async function filesOf(archive: Buffer): Promise<Readonly<Record<string, string>>> {
  const files: Record<string, string> = {}
  async function* source(): AsyncGenerator<Buffer> {
    yield archive
  }
  for await (const { entry, data } of readTar(source())) {
    const hash = digester()
    for await (const chunk of data()) hash.update(chunk)
    const path = entry.path.replace(/^\.\//, '').replace(/\/$/, '')
    if (path === '' || path === '.dockerenv' || /^(dev|proc|sys|etc\/(hosts|hostname|resolv\.conf|mtab))(\/|$)/.test(path)) continue
    const same = entry.type === 'hardlink' ? files[entry.link.replace(/^\.\//, '')] : undefined
    files[path] = same ?? `${entry.type} ${entry.mode.toString(8)} ${entry.uid}:${entry.gid}${entry.type === 'file' ? ` ${entry.size} ${hash.digest().slice(7, 19)}` : ''}${entry.link === '' ? '' : ` -> ${entry.link}`}`
  }
  return files
}

/** Builds a case and looks at what came of it. Nothing of it stays but what the builder keeps. */
export async function buildCase(builder: Builder, one: BuildCase, folder: string, tag: string): Promise<BuildResult> {
  const [program = '', ...first] = builder.client
  const run = (words: readonly string[]): Promise<Ran> => exec(program, [...first, '-H', builder.host, ...words], { env: { ...process.env, ...builder.env } })
  const built = await run([...builder.build, '-t', tag, ...(one.flags ?? []), folder])
  const nothing = { config: {}, history: [], files: {} }
  if (built.code !== 0) return { failed: true, said: `${built.out}${built.err}`, ...nothing }
  const inspected = JSON.parse((await run(['image', 'inspect', tag])).out) as readonly [{ readonly Config: Readonly<Record<string, unknown>>; readonly Author?: string; readonly Os: string; readonly Architecture: string }]
  const [{ Config, Author, Os, Architecture }] = inspected
  const history = (await run(['history', '--no-trunc', '--format', '{{.CreatedBy}}', tag])).out.trim().split('\n')
  const container = (await run(['create', '--entrypoint', '/none', tag])).out.trim()
  const archive = `${folder}.${randomUUID()}.tar`
  await run(['export', '-o', archive, container])
  const files = await filesOf(readFileSync(archive))
  rmSync(archive)
  await run(['rm', container])
  await run(['rmi', '-f', tag])
  const config = Object.fromEntries(FIELDS.flatMap((field) => {
    const value = Config[field]
    return value === undefined || value === null || value === '' || (typeof value === 'object' && Object.keys(value).length === 0) ? [] : [[field, value]]
  }))
  return { failed: false, said: `${built.out}${built.err}`, config: { ...config, ...(Author && { Author }), Os, Architecture }, history, files }
}
