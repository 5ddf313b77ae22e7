import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createRegistryClient } from '@gantry/registry'
import { digester, EngineError } from '@gantry/std'
import { packedLayer } from './packed-layer.ts'
import type { OpProgress, PackedBlob, PackLayer, PushLayer } from './protocol.ts'

const CHUNK = 1 << 20

/** Packs a layer and sends it as it is packed; its digest is known at the end. */
export async function pushLayer(input: PushLayer, report: (progress: OpProgress) => void, signal: AbortSignal): Promise<PackedBlob> {
  const { endpoint, credentials, name } = input.remote
  using client = createRegistryClient(endpoint, credentials)
  const upload = await client.startUpload(name, undefined, signal)
  if (upload.kind !== 'started') throw new EngineError('unavailable', `${name}: the registry takes no upload`)
  const digest = digester()
  const location = await client.sendUpload(name, upload.location, Readable.from(packedLayer(input, digest, report, signal), { objectMode: false, highWaterMark: CHUNK }), signal)
  const done = digest.digest()
  await client.finishUpload(name, location, done, signal)
  return { digest: done, size: digest.bytes }
}

/** Packs a layer into a file. */
export async function packLayer(input: PackLayer, report: (progress: OpProgress) => void, signal: AbortSignal): Promise<PackedBlob> {
  const digest = digester()
  await pipeline(packedLayer(input, digest, report, signal), createWriteStream(input.path, { mode: 0o600, highWaterMark: CHUNK }), { signal })
  return { digest: digest.digest(), size: digest.bytes }
}
