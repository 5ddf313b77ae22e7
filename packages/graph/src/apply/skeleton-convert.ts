import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { zstdDecompressSync } from 'node:zlib'
import { skeletonWriter } from './skeleton.ts'

const OLD = '.tar-skeleton'

/** One part as data roots of the first versions have it. */
type OldPart = { readonly raw: string } | { readonly file: string; readonly size: number }

/** Writes skeletons of the first versions (one JSON document, compressed) anew. Tells of each layer and how long its archive is. */
export function convertSkeletons(directory: string, converted: (cacheId: string, tarBytes: number) => void): void {
  for (const name of readdirSync(directory)) {
    if (!name.endsWith(OLD)) continue
    const cacheId = name.slice(0, -OLD.length)
    const parts = JSON.parse(zstdDecompressSync(readFileSync(`${directory}/${name}`)).toString()) as readonly OldPart[]
    rmSync(`${directory}/${cacheId}.skeleton`, { force: true })
    const writer = skeletonWriter(`${directory}/${cacheId}.skeleton`)
    let tarBytes = 0
    for (const part of parts) {
      if ('raw' in part) {
        const bytes = Buffer.from(part.raw, 'base64')
        writer.raw(bytes)
        tarBytes += bytes.length
      } else {
        writer.file(Buffer.from(part.file, 'base64'), part.size)
        tarBytes += part.size
      }
    }
    writer.close()
    converted(cacheId, tarBytes)
    rmSync(`${directory}/${name}`)
  }
}
