import { createReadStream, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync, closeSync, writeSync, fsyncSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { type Digester, digester, exists, isDigest, newId, readText, replaceFile } from '@gantry/std'

/** A blob that is there. */
export interface StoredBlob {
  readonly size: number
  read(start?: number, end?: number): Readable
}

/** A manifest of a repository. */
export interface StoredManifest {
  readonly digest: string
  readonly mediaType: string
  readonly bytes: Buffer
}

/** An upload that is on its way; it outlives a restart of the server. */
export interface StoredUpload {
  readonly id: string
  size(): number
  /** Takes bytes to its end. */
  take(source: AsyncIterable<Uint8Array>): Promise<void>
  /** Digest of everything so far. */
  digest(): Promise<string>
}

/**
 * What a registry keeps, in a folder: `blobs/sha256/HEX` once for all, and a folder a repository that names what belongs to it:
 * `blobs/HEX`, `manifests/HEX` (the media type), `tags/TAG` (the digest), `referrers/HEX/HEX` (a descriptor). A name that is there leads
 * to content that is there: content is written first, names after it, each by a rename.
 */
export interface RegistryStore {
  readonly root: string
  blob(repository: string, digest: string): StoredBlob | undefined
  /** True when another repository's blob is this one's, too, from now on. */
  mount(repository: string, digest: string, from: string | undefined): boolean
  /** Takes content of a known digest. */
  putBlob(repository: string, digest: string, bytes: Buffer): void
  removeBlob(repository: string, digest: string): boolean
  /** By tag or digest. */
  manifest(repository: string, reference: string): StoredManifest | undefined
  putManifest(repository: string, manifest: StoredManifest, tag: string | undefined): void
  /** A digest takes the manifest and its tags away, a tag only itself. */
  removeManifest(repository: string, reference: string): boolean
  tags(repository: string): readonly string[]
  repositories(): readonly string[]
  has(repository: string): boolean
  addReferrer(repository: string, subject: string, digest: string, descriptor: string): void
  removeReferrer(repository: string, subject: string, digest: string): void
  referrers(repository: string, subject: string): readonly string[]
  startUpload(repository: string): StoredUpload
  upload(repository: string, id: string): StoredUpload | undefined
  finishUpload(repository: string, id: string, digest: string): void
  cancelUpload(repository: string, id: string): boolean
  /** Removes content that no repository names; gives how many blobs and bytes. */
  collect(options: { readonly dryRun: boolean; readonly untagged: boolean }, manifestChildren: (manifest: StoredManifest) => readonly string[]): { readonly blobs: number; readonly bytes: number; readonly manifests: number }
}

const UPLOAD_ID = /^[0-9a-f]{32}$/
/** Uploads whose digest is kept while they grow; that of an older one is read again at its end. */
const SUMS = 256
/** Content younger than this may belong to a push that is not complete. */
const GRACE_MS = 3600 * 1000
const hex = (digest: string): string => digest.slice('sha256:'.length)

function names(directory: string): readonly string[] {
  return exists(directory) ? readdirSync(directory).sort() : []
}

/** Opens a folder. */
export function openRegistryStore(root: string): RegistryStore {
  const blobs = `${root}/blobs/sha256`
  const uploads = `${root}/uploads`
  const home = `${root}/repositories`
  for (const directory of [blobs, uploads, home]) mkdirSync(directory, { recursive: true, mode: 0o700 })
  /** Digests of uploads that go on in this process. */
  const sums = new Map<string, Digester>()
  const at = (repository: string, kind: string): string => `${home}/${repository}/_${kind}`
  const uploadPath = (repository: string, id: string): string => `${uploads}/${Buffer.from(repository).toString('hex').slice(0, 128)}-${id}`
  const link = (repository: string, kind: string, name: string, text: string): void => {
    mkdirSync(at(repository, kind), { recursive: true, mode: 0o700 })
    replaceFile(`${at(repository, kind)}/${name}`, text)
  }
  const unlink = (path: string): boolean => {
    if (!exists(path)) return false
    rmSync(path, { recursive: true })
    return true
  }
  const writeBlob = (digest: string, bytes: Buffer): void => {
    const path = `${blobs}/${hex(digest)}`
    if (exists(path)) return
    const temporary = `${uploads}/new-${newId().slice(0, 16)}`
    writeFileSync(temporary, bytes, { mode: 0o600, flush: true })
    renameSync(temporary, path)
  }
  const openUpload = (repository: string, id: string): StoredUpload => {
    const path = uploadPath(repository, id)
    return {
      id,
      size: () => statSync(path).size,
      async take(source) {
        const fd = openSync(path, 'a', 0o600)
        try {
          for await (const chunk of source) {
            for (let from = 0; from < chunk.length; ) from += writeSync(fd, chunk, from)
            sums.get(id)?.update(chunk)
          }
        } finally {
          closeSync(fd)
        }
      },
      async digest() {
        const sum = sums.get(id)
        sums.delete(id)
        if (sum !== undefined && sum.bytes === statSync(path).size) return sum.digest()
        // Begun by an earlier server: read again.
        const whole = digester()
        for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) whole.update(chunk)
        return whole.digest()
      },
    }
  }
  const digestFor = (repository: string, reference: string): string | undefined => (isDigest(reference) ? reference : readText(`${at(repository, 'tags')}/${reference}`))
  const manifest: RegistryStore['manifest'] = (repository, reference) => {
    const digest = digestFor(repository, reference)
    const mediaType = digest === undefined ? undefined : readText(`${at(repository, 'manifests')}/${hex(digest)}`)
    return digest === undefined || mediaType === undefined ? undefined : { digest, mediaType, bytes: readFileSync(`${blobs}/${hex(digest)}`) }
  }
  const repositories = (): readonly string[] => {
    const found: string[] = []
    const walk = (path: string): void => {
      for (const name of names(`${home}${path}`)) {
        if (!name.startsWith('_')) walk(`${path}/${name}`)
        else if (name === '_manifests') found.push(path.slice(1))
      }
    }
    walk('')
    return found.sort()
  }
  const tags = (repository: string): readonly string[] => names(at(repository, 'tags')).filter((name) => !name.endsWith('.new'))
  const removeManifest: RegistryStore['removeManifest'] = (repository, reference) => {
    if (!isDigest(reference)) return unlink(`${at(repository, 'tags')}/${reference}`)
    for (const tag of tags(repository)) if (readText(`${at(repository, 'tags')}/${tag}`) === reference) unlink(`${at(repository, 'tags')}/${tag}`)
    return unlink(`${at(repository, 'manifests')}/${hex(reference)}`)
  }
  /** Manifests that a tag, an index with a tag, or a subject keeps. */
  const kept = (repository: string, children: (manifest: StoredManifest) => readonly string[]): ReadonlySet<string> => {
    const alive = new Set<string>()
    const visit = (digest: string): void => {
      if (alive.has(digest)) return
      const found = manifest(repository, digest)
      if (found === undefined) return
      alive.add(digest)
      for (const child of children(found)) visit(child)
      for (const one of names(`${at(repository, 'referrers')}/${hex(digest)}`)) visit(`sha256:${one}`)
    }
    for (const tag of tags(repository)) visit(readText(`${at(repository, 'tags')}/${tag}`) ?? '')
    return alive
  }
  return {
    root, manifest, tags, repositories, removeManifest,
    has: (repository) => exists(`${home}/${repository}/_manifests`) || exists(at(repository, 'blobs')),
    blob(repository, digest) {
      if (!exists(`${at(repository, 'blobs')}/${hex(digest)}`) && !exists(`${at(repository, 'manifests')}/${hex(digest)}`)) return undefined
      const path = `${blobs}/${hex(digest)}`
      if (!exists(path)) return undefined
      return { size: statSync(path).size, read: (start, end) => createReadStream(path, { highWaterMark: 1 << 20, ...(start !== undefined && { start }), ...(end !== undefined && { end }) }) }
    },
    mount(repository, digest, from) {
      const holder = from === undefined ? undefined : `${at(from, 'blobs')}/${hex(digest)}`
      if (holder === undefined || !exists(holder)) return false
      link(repository, 'blobs', hex(digest), '')
      return true
    },
    putBlob(repository, digest, bytes) {
      writeBlob(digest, bytes)
      link(repository, 'blobs', hex(digest), '')
    },
    removeBlob: (repository, digest) => unlink(`${at(repository, 'blobs')}/${hex(digest)}`),
    putManifest(repository, { digest, mediaType, bytes }, tag) {
      writeBlob(digest, bytes)
      link(repository, 'manifests', hex(digest), mediaType)
      if (tag !== undefined) link(repository, 'tags', tag, digest)
    },
    addReferrer(repository, subject, digest, descriptor) {
      mkdirSync(`${at(repository, 'referrers')}/${hex(subject)}`, { recursive: true, mode: 0o700 })
      replaceFile(`${at(repository, 'referrers')}/${hex(subject)}/${hex(digest)}`, descriptor)
    },
    removeReferrer: (repository, subject, digest) => void unlink(`${at(repository, 'referrers')}/${hex(subject)}/${hex(digest)}`),
    referrers: (repository, subject) => names(`${at(repository, 'referrers')}/${hex(subject)}`).flatMap((name) => readText(`${at(repository, 'referrers')}/${hex(subject)}/${name}`) ?? []),
    startUpload(repository) {
      const id = newId().slice(0, 32)
      writeFileSync(uploadPath(repository, id), '', { mode: 0o600, flag: 'wx' })
      sums.set(id, digester())
      for (const oldest of [...sums.keys()].slice(0, -SUMS)) sums.delete(oldest)
      return openUpload(repository, id)
    },
    upload: (repository, id) => (UPLOAD_ID.test(id) && exists(uploadPath(repository, id)) ? openUpload(repository, id) : undefined),
    finishUpload(repository, id, digest) {
      const path = uploadPath(repository, id)
      const fd = openSync(path, 'r')
      try {
        fsyncSync(fd)
      } finally {
        closeSync(fd)
      }
      renameSync(path, `${blobs}/${hex(digest)}`)
      link(repository, 'blobs', hex(digest), '')
    },
    cancelUpload(repository, id) {
      sums.delete(id)
      return UPLOAD_ID.test(id) && unlink(uploadPath(repository, id))
    },
    collect({ dryRun, untagged }, children) {
      const old = (path: string): boolean => statSync(path).mtimeMs < Date.now() - GRACE_MS || dryRun
      let [count, bytes, manifests] = [0, 0, 0]
      const used = new Set<string>()
      for (const repository of repositories()) {
        const alive = untagged ? kept(repository, children) : undefined
        for (const name of names(at(repository, 'manifests'))) {
          const digest = `sha256:${name}`
          if (alive !== undefined && !alive.has(digest) && old(`${at(repository, 'manifests')}/${name}`)) {
            manifests++
            if (!dryRun) removeManifest(repository, digest)
            continue
          }
          used.add(name)
          const found = manifest(repository, digest)
          if (found !== undefined) for (const child of children(found)) used.add(hex(child))
        }
      }
      for (const name of names(blobs)) {
        const path = `${blobs}/${name}`
        if (used.has(name) || !old(path)) continue
        count++
        bytes += statSync(path).size
        if (dryRun) continue
        for (const repository of repositories()) unlink(`${at(repository, 'blobs')}/${name}`)
        rmSync(path)
      }
      if (!dryRun) for (const name of names(uploads)) if (old(`${uploads}/${name}`)) rmSync(`${uploads}/${name}`)
      return { blobs: count, bytes, manifests }
    },
  }
}
