import { EngineError } from '@gantry/std'
import type { RegistryStore } from './store.ts'

/** Takes a blob that came from elsewhere into the store, once its content proved to be what its digest says. */
export async function keepBlob(store: RegistryStore, name: string, digest: string, source: AsyncIterable<Uint8Array>, from: string): Promise<void> {
  const upload = store.startUpload(name)
  try {
    await upload.take(source)
    const seen = await upload.digest()
    if (seen !== digest) throw new EngineError('unavailable', `${from} gave other content for ${digest}: ${seen}`)
    store.finishUpload(name, upload.id, digest)
  } catch (error) {
    store.cancelUpload(name, upload.id)
    throw error
  }
}
