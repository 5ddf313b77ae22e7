import { type BuildContext, type ContextStore, type ListedFile, toBytes } from '@gantry/builder'
import { type ClientSession, GO_MODE, readStat, receiveFiles } from '@gantry/buildkit'
import { EngineError, ignorePatterns } from '@gantry/std'
import { DOCKERFILE_LIMIT } from '../dockerfile.ts'
import { listedAs } from '../listed-file.ts'
import { during } from '../export/vertex.ts'
import { type StatusLog } from './status-log.ts'

const has = (mode: number, bit: number): boolean => Math.floor(mode / bit) % 2 === 1

function permissions(mode: number): number {
  return (mode & 0o777) | (has(mode, GO_MODE.setUid) ? 0o4000 : 0) | (has(mode, GO_MODE.setGid) ? 0o2000 : 0) | (has(mode, GO_MODE.sticky) ? 0o1000 : 0)
}

/** A file of a client as a context has it; sockets, pipes and devices are left out. */
export function listedFile(raw: Uint8Array): ListedFile | undefined {
  const { path, mode, uid, gid, size, modTime, linkname, xattrs } = readStat(raw)
  if (has(mode, GO_MODE.device) || has(mode, GO_MODE.pipe) || has(mode, GO_MODE.socket)) return undefined
  const type = has(mode, GO_MODE.directory) ? 'directory' : has(mode, GO_MODE.link) ? 'link' : 'file'
  return listedAs(path, { type, mode: permissions(mode), uid, gid, size, modTime, link: linkname, xattrs })
}

/** Has a client send a few small files; those that are not there are left out. */
export async function smallFiles(session: ClientSession, directory: string, names: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, Buffer>> {
  const wanted = new Map<number, { readonly name: string; readonly chunks: Uint8Array[]; bytes: number }>()
  const bytesOf = new Set(names.map(toBytes))
  await receiveFiles(session, { directory, exclude: [], follow: names }, {
    expected: undefined,
    listed: () => undefined,
    stat(id, raw) {
      const { path, mode } = readStat(raw)
      if (!bytesOf.has(path) || has(mode, GO_MODE.directory) || has(mode, GO_MODE.link)) return false
      wanted.set(id, { name: Buffer.from(path, 'latin1').toString('utf8'), chunks: [], bytes: 0 })
      return true
    },
    data(id, chunk) {
      const file = wanted.get(id)
      if (file === undefined) return
      file.bytes += chunk.length
      if (file.bytes > DOCKERFILE_LIMIT) throw new EngineError('invalid', `${file.name} is too large: expected at most ${DOCKERFILE_LIMIT} bytes`)
      file.chunks.push(Buffer.from(chunk))
    },
    end: () => undefined,
  }, signal)
  return new Map([...wanted.values()].map((file) => [file.name, Buffer.concat(file.chunks)]))
}

/** What is taken of a client's directory. */
export interface DirectoryRequest {
  readonly directory: string
  /** As it is shown: `build context`, `context NAME`. */
  readonly what: string
  /** Its list of what is left out. */
  readonly ignore: Buffer | undefined
  /** Only these; undefined: all. */
  readonly paths: readonly string[] | undefined
}

/** Has a client send a directory: only what has not come before. */
export async function clientDirectory(contexts: ContextStore, session: ClientSession, log: StatusLog, { directory, what, ignore, paths }: DirectoryRequest, signal: AbortSignal): Promise<BuildContext> {
  const exclude = ignore === undefined ? [] : ignorePatterns(ignore.toString('utf8'))
  const vertex = log.open(`[internal] load ${what}`)
  const label = 'transferring context:'
  const intake = contexts.receiveListed(JSON.stringify([session.sharedKey, directory, exclude, paths ?? null]), listedFile)
  vertex.status(label)
  return during(vertex, async () => {
    try {
      await receiveFiles(session, { directory, exclude, follow: paths ?? [] }, intake, signal)
      const context = intake.finish()
      vertex.status(label, { current: intake.bytes, done: true })
      return context
    } catch (error) {
      intake.abandon()
      throw error
    }
  })
}
