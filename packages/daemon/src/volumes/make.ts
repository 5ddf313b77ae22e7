import { EngineError } from '@gantry/std'
import { localOptions } from './local-options.ts'
import type { Volume, Volumes } from './volumes.ts'

/** What making a volume needs of the rest of the house. */
export interface MakePorts {
  readonly volumes: Volumes
  /** Bounds what may be written into a volume. */
  limitVolume(volume: Volume, bytes: number): Promise<void>
  emitVolume(action: 'create' | 'destroy', volume: Volume): void
}

/** A volume as it is asked for; an empty name: one of its own, an empty driver: the local one. */
export interface VolumeRequest {
  readonly name: string
  readonly driver: string
  readonly labels: Readonly<Record<string, string>>
  readonly options: Readonly<Record<string, string>>
  readonly anonymous?: boolean
}

/** Makes a volume where there is none of that name. `made: false`: there was. */
export async function makeVolume(ports: MakePorts, request: VolumeRequest): ReturnType<typeof make> {
  try {
    return await make(ports, request)
  } catch (cause) {
    if (!(cause instanceof EngineError) || cause.message.startsWith('create ')) throw cause
    throw new EngineError(cause.kind, `create ${request.name}: ${cause.message}`, { cause })
  }
}

async function make(ports: MakePorts, request: VolumeRequest): Promise<{ readonly volume: Volume; readonly made: boolean }> {
  const { volumes } = ports
  const known = request.name === '' ? undefined : volumes.get(request.name)
  // A volume that is there keeps its driver where none is named.
  const driver = request.driver === '' ? (known?.driver ?? 'local') : request.driver
  if (driver !== 'local') {
    const volume = await volumes.createForeign({ ...request, driver })
    if (known === undefined) ports.emitVolume('create', volume)
    return { volume, made: known === undefined }
  }
  const volume = volumes.create(request)
  if (known !== undefined) return { volume, made: false }
  const { bytes } = localOptions(request.options)
  if (bytes !== undefined) {
    await ports.limitVolume(volume, bytes).catch((error: unknown) => {
      volumes.remove(volume.name)
      throw error
    })
  }
  ports.emitVolume('create', volume)
  return { volume, made: true }
}

/** Removes a volume that nobody has. */
export async function unmakeVolume(ports: MakePorts, volume: Volume): Promise<void> {
  // What a daemon that was killed left mounted is not this volume's to delete.
  await ports.volumes.unmount(volume.name)
  if (volume.driver === 'local') ports.volumes.remove(volume.name)
  else await ports.volumes.removeForeign(volume)
  ports.emitVolume('destroy', volume)
}
