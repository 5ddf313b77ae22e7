/** Archives of images for tests, made in memory. */
import { createHash } from 'node:crypto'
import { BLOCK, encodeHeader, padding, type TarEntry } from '../packages/graph/src/index.ts'

export const sha256 = (bytes: Buffer | string): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/** A member: all that is not given is plain. */
export type Member = Partial<TarEntry> & { readonly path: string; readonly content?: Buffer | string }

/** A tar archive. */
export function tarOf(...members: readonly Member[]): Buffer {
  const parts = members.flatMap(({ content = '', ...fields }) => {
    const bytes = Buffer.from(content)
    const entry: TarEntry = { type: 'file', mode: 0o644, uid: 0, gid: 0, size: bytes.length, mtimeSeconds: 1_700_000_000, mtimeNanos: 0, link: '', major: 0, minor: 0, xattrs: new Map(), ...fields }
    return [encodeHeader(entry), bytes, padding(bytes.length)]
  })
  return Buffer.concat([...parts, Buffer.alloc(BLOCK * 2)])
}

/** An image of these layers, lowest first, as `docker load` takes it. */
export function imageArchive(name: string, layers: readonly Buffer[], config: object = { Cmd: ['/bin/sh'] }): { readonly archive: Buffer; readonly id: string } {
  const document = Buffer.from(JSON.stringify({ architecture: process.arch === 'x64' ? 'amd64' : process.arch, os: 'linux', created: '2026-01-01T00:00:00Z', config, rootfs: { type: 'layers', diff_ids: layers.map(sha256) }, history: layers.map((_, index) => ({ created: '2026-01-01T00:00:00Z', created_by: `layer ${index}` })) }))
  const id = sha256(document)
  const manifest = [{ Config: `${id.slice(7)}.json`, RepoTags: [name], Layers: layers.map((_, index) => `${index}.tar`) }]
  return { id, archive: tarOf({ path: `${id.slice(7)}.json`, content: document }, ...layers.map((layer, index) => ({ path: `${index}.tar`, content: layer })), { path: 'manifest.json', content: JSON.stringify(manifest) }) }
}
