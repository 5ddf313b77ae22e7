import { pipeline } from 'node:stream/promises'
import { isDigest } from '@gantry/std'
import { Refusal, type RegistryRequest, sendHead } from './answer.ts'
import type { ReadableContent } from './server.ts'
import type { RegistryStore, StoredUpload } from './store.ts'

function checkDigest(digest: string): string {
  if (!isDigest(digest)) throw new Refusal(400, 'DIGEST_INVALID', `provided digest did not match uploaded content or is not sha256: ${JSON.stringify(digest)}`)
  return digest
}

/** One range of a blob (RFC 9110, 14.2); undefined for the whole. */
function rangeOf(header: string | undefined, size: number): readonly [start: number, end: number] | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  if (match === null || (match[1] === '' && match[2] === '')) return undefined
  const [start, end] = match[1] === '' ? [Math.max(0, size - Number(match[2])), size - 1] : [Number(match[1]), match[2] === '' ? size - 1 : Math.min(size - 1, Number(match[2]))]
  if (start > end || start >= size) throw new Refusal(416, 'RANGE_INVALID', `the blob has ${size} bytes`, { 'Content-Range': `bytes */${size}` })
  return [start, end]
}

/** `GET`, `HEAD /v2/NAME/blobs/DIGEST` (distribution-spec, "Pulling blobs"). */
export async function getBlob(content: ReadableContent, request: RegistryRequest): Promise<void> {
  const digest = checkDigest(request.reference)
  const blob = await content.blob(request.name, digest)
  if (blob === undefined) throw new Refusal(404, 'BLOB_UNKNOWN', `blob ${digest} is not known to ${request.name}`)
  const range = rangeOf(request.message.headers.range, blob.size)
  const [start, end] = range ?? [0, blob.size - 1]
  request.response.writeHead(range === undefined ? 200 : 206, {
    'Content-Type': 'application/octet-stream', 'Content-Length': String(blob.size === 0 ? 0 : end - start + 1), 'Docker-Content-Digest': digest, ETag: `"${digest}"`, 'Accept-Ranges': 'bytes', 'Cache-Control': 'max-age=31536000',
    ...(range !== undefined && { 'Content-Range': `bytes ${start}-${end}/${blob.size}` }),
  })
  if (request.method === 'HEAD' || blob.size === 0) return void request.response.end()
  await pipeline(blob.read(start, end), request.response)
}

/** `DELETE /v2/NAME/blobs/DIGEST` (distribution-spec, "Deleting Blobs"). */
export function deleteBlob(store: RegistryStore, request: RegistryRequest): void {
  if (!store.removeBlob(request.name, checkDigest(request.reference))) throw new Refusal(404, 'BLOB_UNKNOWN', `blob ${request.reference} is not known to ${request.name}`)
  sendHead(request, 202)
}

const uploadHeaders = (request: RegistryRequest, upload: StoredUpload): Readonly<Record<string, string>> => {
  const size = upload.size()
  return { Location: `/v2/${request.name}/blobs/uploads/${upload.id}`, 'Docker-Upload-UUID': upload.id, Range: `0-${Math.max(0, size - 1)}` }
}

function knownUpload(store: RegistryStore, request: RegistryRequest): StoredUpload {
  const upload = store.upload(request.name, request.reference)
  if (upload === undefined) throw new Refusal(404, 'BLOB_UPLOAD_UNKNOWN', `upload ${request.reference} is not known to ${request.name}`)
  return upload
}

/** Takes a request's body to the end of an upload; a piece that says where it begins has to begin there. */
async function take(request: RegistryRequest, upload: StoredUpload): Promise<void> {
  const range = request.message.headers['content-range']
  if (range !== undefined) {
    const match = /^(?:bytes )?(\d+)-(\d+)$/.exec(range)
    const [start, end] = [Number(match?.[1] ?? -1), Number(match?.[2] ?? -1)]
    if (match === null || end < start) throw new Refusal(400, 'BLOB_UPLOAD_INVALID', `Content-Range: expected START-END, got ${JSON.stringify(range)}`)
    if (start !== upload.size()) throw new Refusal(416, 'RANGE_INVALID', `the upload has ${upload.size()} bytes, the piece begins at ${start}`, uploadHeaders(request, upload))
    const length = request.message.headers['content-length']
    if (length !== undefined && Number(length) !== end - start + 1) throw new Refusal(400, 'SIZE_INVALID', `Content-Range names ${end - start + 1} bytes, Content-Length ${length}`)
  }
  await upload.take(request.message)
}

async function finish(store: RegistryStore, request: RegistryRequest, upload: StoredUpload, wanted: string): Promise<void> {
  const digest = checkDigest(wanted)
  const seen = await upload.digest()
  if (seen !== digest) {
    store.cancelUpload(request.name, upload.id)
    throw new Refusal(400, 'DIGEST_INVALID', `provided digest did not match uploaded content: ${digest} was named, ${seen} came`)
  }
  store.finishUpload(request.name, upload.id, digest)
  sendHead(request, 201, { Location: `/v2/${request.name}/blobs/${digest}`, 'Docker-Content-Digest': digest })
}

/** `POST /v2/NAME/blobs/uploads/` (distribution-spec, "Pushing blobs", "Mounting a blob from another repository"). */
export async function startUpload(store: RegistryStore, request: RegistryRequest): Promise<void> {
  const { searchParams } = request.url
  const mount = searchParams.get('mount')
  if (mount !== null && store.mount(request.name, checkDigest(mount), searchParams.get('from') ?? undefined)) {
    return sendHead(request, 201, { Location: `/v2/${request.name}/blobs/${mount}`, 'Docker-Content-Digest': mount })
  }
  const digest = searchParams.get('digest')
  const upload = store.startUpload(request.name)
  if (digest === null || mount !== null) return sendHead(request, 202, { ...uploadHeaders(request, upload), Range: '0-0' })
  checkDigest(digest)
  await take(request, upload)
  await finish(store, request, upload, digest)
}

/** `PATCH`, `PUT`, `GET`, `DELETE` of an upload (distribution-spec, "Pushing a blob in chunks"). */
export async function onUpload(store: RegistryStore, request: RegistryRequest): Promise<void> {
  const upload = knownUpload(store, request)
  switch (request.method) {
    case 'PATCH':
      await take(request, upload)
      return sendHead(request, 202, uploadHeaders(request, upload))
    case 'PUT': {
      const digest = checkDigest(request.url.searchParams.get('digest') ?? '')
      await take(request, upload)
      return finish(store, request, upload, digest)
    }
    case 'GET':
      return sendHead(request, 204, uploadHeaders(request, upload))
    default:
      store.cancelUpload(request.name, upload.id)
      return sendHead(request, 204)
  }
}
