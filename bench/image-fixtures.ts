import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { MEDIA, openRegistryStore, type RegistryStore } from '../packages/registry/src/index.ts'

/**
 * The three images of facts/storage.md §0, made of what this machine has: `a` one layer of about 10,000 files and 85 MB, `b` five
 * layers of about 45,000 files and 500 MB, `c` one file of 524 MB that packs to a third. Each as gzip and as zstd.
 */
const SIZES = { a: [{ files: 10_000, bytes: 85e6 }], b: Array.from({ length: 5 }, () => ({ files: 9000, bytes: 100e6 })) } as const
const BIG_BYTES = 524e6
const FROM = ['/usr/share', '/usr/include', '/usr/lib', '/usr/local']

/** Picks files from the host until there are enough of them; `taken` keeps layers apart. */
function pick(want: { readonly files: number; readonly bytes: number }, queue: { path: string; size: number }[]): readonly string[] {
  const picked: string[] = []
  let bytes = 0
  while (picked.length < want.files) {
    const next = queue.shift()
    if (next === undefined) throw new Error(`this machine has too few files below ${FROM.join(', ')}`)
    // Small files until their number fits the bytes: what is left of the bytes is spread over what is left of the files.
    if (next.size > Math.max(20_000, ((want.bytes - bytes) / Math.max(1, want.files - picked.length)) * 4)) continue
    picked.push(next.path)
    bytes += next.size
  }
  return picked
}

function hostFiles(): { path: string; size: number }[] {
  const found: { path: string; size: number }[] = []
  const walk = (path: string): void => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const full = `${path}/${entry.name}`
      if (entry.isDirectory()) walk(full)
      else if (entry.isFile()) found.push({ path: full, size: statSync(full).size })
    }
  }
  for (const path of FROM) if (existsSync(path)) walk(path)
  return found
}

/** Bytes that pack to about 37 %: a third of noise, the rest repeats. */
function bigFile(path: string): void {
  const fd = openSync(path, 'w')
  let seed = Buffer.from('gantry')
  for (let written = 0; written < BIG_BYTES; ) {
    const noise = Buffer.concat(Array.from({ length: 2000 }, () => (seed = createHash('sha256').update(seed).digest())))
    const block = Buffer.concat([noise, Buffer.from('the quick brown fox jumps over the lazy dog '.repeat(2500).slice(0, 108_000), 'latin1')])
    written += writeSync(fd, block)
  }
  closeSync(fd)
}

const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

function publish(store: RegistryStore, name: string, tars: readonly string[]): void {
  const layers = tars.map((path) => readFileSync(path))
  const config = Buffer.from(JSON.stringify({ architecture: process.arch === 'x64' ? 'amd64' : process.arch, os: 'linux', created: '2026-01-01T00:00:00Z', config: { Cmd: ['/true'] }, rootfs: { type: 'layers', diff_ids: layers.map(digestOf) }, history: layers.map(() => ({ created: '2026-01-01T00:00:00Z', created_by: 'bench' })) }))
  for (const kind of ['gzip', 'zstd'] as const) {
    const repository = `${name}-${kind}`
    const blobs = layers.map((tar) => (kind === 'gzip' ? gzipSync(tar, { level: 6 }) : zstdCompressSync(tar)))
    for (const bytes of [config, ...blobs]) store.putBlob(repository, digestOf(bytes), bytes)
    const oci = kind === 'zstd'
    const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: oci ? MEDIA.ociManifest : MEDIA.dockerManifest, config: { mediaType: oci ? MEDIA.ociConfig : MEDIA.dockerConfig, digest: digestOf(config), size: config.length }, layers: blobs.map((bytes) => ({ mediaType: oci ? MEDIA.ociLayerZstd : MEDIA.dockerLayer, digest: digestOf(bytes), size: bytes.length })) }))
    store.putManifest(repository, { digest: digestOf(manifest), mediaType: oci ? MEDIA.ociManifest : MEDIA.dockerManifest, bytes: manifest }, 'latest')
    process.stderr.write(`  ${repository}: ${tars.length} layers, ${Math.round(layers.reduce((sum, tar) => sum + tar.length, 0) / 1e6)} MB, packed ${Math.round(blobs.reduce((sum, bytes) => sum + bytes.length, 0) / 1e6)} MB\n`)
  }
}

/** Makes a registry's folder with the images, once. */
export function prepareImages(root: string): void {
  const marker = `${root}/ready`
  if (existsSync(marker)) return
  process.stderr.write('making the images of the benchmark, once\n')
  rmSync(root, { recursive: true, force: true })
  mkdirSync(`${root}/work`, { recursive: true })
  const store = openRegistryStore(`${root}/registry`)
  const queue = hostFiles()
  let count = 0
  const tarOf = (files: readonly string[]): string => {
    const [list, tar] = [`${root}/work/list`, `${root}/work/${++count}.tar`]
    writeFileSync(list, files.map((path) => path.slice(1)).join('\0'))
    execFileSync('tar', ['-C', '/', '--null', '--numeric-owner', '--hard-dereference', '-cf', tar, '-T', list], { stdio: ['ignore', 'inherit', 'ignore'] })
    return tar
  }
  publish(store, 'a', SIZES.a.map((want) => tarOf(pick(want, queue))))
  publish(store, 'b', SIZES.b.map((want) => tarOf(pick(want, queue))))
  mkdirSync(`${root}/work/c`)
  bigFile(`${root}/work/c/big`)
  execFileSync('tar', ['-C', `${root}/work/c`, '-cf', `${root}/work/c.tar`, 'big'])
  publish(store, 'c', [`${root}/work/c.tar`])
  rmSync(`${root}/work`, { recursive: true })
  writeFileSync(marker, '')
}
