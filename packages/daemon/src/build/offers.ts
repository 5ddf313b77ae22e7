import { FILE_TYPE, fileRows, readFileRow } from '@gantry/api'
import type { BuildContext, ContextStore, ListedFile } from '@gantry/builder'
import { readTar } from '@gantry/graph'
import { EngineError, newId } from '@gantry/std'
import { checkedPath, listedAs } from './listed-file.ts'

/** Contexts that clients list before they send what is not there yet. */
export interface Offers {
  /** `from` names where the files are. Gives the places, in the list, of those whose content is to be sent. */
  make(from: string, list: Buffer): { readonly id: string; readonly wanted: readonly number[] }
  /** The context, with the archive of what was wanted. */
  take(id: string, archive: AsyncIterable<Uint8Array>): Promise<BuildContext>
  /** The same for a context that waits for a build beside another one. */
  complete(id: string, archive: AsyncIterable<Uint8Array>): Promise<void>
  /** A context that is complete. */
  ready(id: string): BuildContext
}

/** So long a client may take before it sends. */
const LIFE_MS = 60_000

function listedRow(raw: Uint8Array): ListedFile | undefined {
  const { path, mode, uid, gid, size, modTime, link } = readFileRow(Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength))
  const kind = mode & FILE_TYPE.mask
  const type = kind === FILE_TYPE.file ? 'file' : kind === FILE_TYPE.directory ? 'directory' : kind === FILE_TYPE.link ? 'link' : undefined
  if (type === undefined) return undefined
  return listedAs(path, { type, mode: mode & 0o7777, uid, gid, size, modTime, link, xattrs: new Map() })
}

/** Opens the place where offers wait. */
export function openOffers(contexts: ContextStore): Offers {
  const offers = new Map<string, { readonly intake: ReturnType<ContextStore['receiveListed']>; readonly wanted: ReadonlyMap<string, number>; readonly timer: NodeJS.Timeout }>()
  const complete = new Map<string, { readonly context: BuildContext; readonly timer: NodeJS.Timeout }>()
  const take: Offers['take'] = async (id, archive) => {
    const offer = offers.get(id)
    if (offer === undefined) throw new EngineError('not-found', `offer ${JSON.stringify(id)}: it was not made, or it was taken or is too old`)
    offers.delete(id)
    clearTimeout(offer.timer)
    const { intake, wanted } = offer
    try {
      if (wanted.size > 0) {
        for await (const { entry, data } of readTar(archive)) {
          const place = entry.type === 'file' ? wanted.get(checkedPath(entry.path.replace(/^\.\//, ''))) : undefined
          if (place === undefined) continue
          for await (const chunk of data()) intake.data(place, chunk)
          intake.end(place)
        }
      }
      return intake.finish()
    } catch (error) {
      intake.abandon()
      throw error
    }
  }
  return {
    make(from, list) {
      const intake = contexts.receiveListed(`list ${from}`, listedRow)
      const wanted = new Map<string, number>()
      try {
        if (intake.expected?.equals(list) === true) intake.listed(undefined)
        else {
          let at = 0
          for (const row of fileRows(list)) {
            if (intake.stat(at, row)) wanted.set(checkedPath(readFileRow(row).path), at)
            at++
          }
          intake.listed(list)
        }
      } catch (error) {
        intake.abandon()
        throw error
      }
      const id = newId().slice(0, 25)
      const timer = setTimeout(() => {
        offers.delete(id)
        intake.abandon()
      }, LIFE_MS)
      timer.unref()
      offers.set(id, { intake, wanted, timer })
      return { id, wanted: [...wanted.values()] }
    },
    take,
    async complete(id, archive) {
      const context = await take(id, archive)
      const timer = setTimeout(() => {
        complete.delete(id)
        context[Symbol.dispose]()
      }, LIFE_MS)
      timer.unref()
      complete.set(id, { context, timer })
    },
    ready(id) {
      const found = complete.get(id)
      if (found === undefined) throw new EngineError('not-found', `context ${JSON.stringify(id)}: it has not come, or it is too old`)
      complete.delete(id)
      clearTimeout(found.timer)
      return found.context
    },
  }
}
