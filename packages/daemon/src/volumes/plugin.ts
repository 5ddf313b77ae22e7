import { asString, EngineError, type JsonObject } from '@gantry/std'
import { openPluginSocket, PLUGIN_SOCKETS } from '../plugins/socket.ts'

/** A volume driver of somebody else, behind a socket (Docker's plugin API, version 1: `/VolumeDriver.*`). */
export interface VolumePlugin {
  create(name: string, options: Readonly<Record<string, string>>): Promise<void>
  remove(name: string): Promise<void>
  /** Makes it ready; gives where it is. `id` names who uses it. */
  mount(name: string, id: string): Promise<string>
  unmount(name: string, id: string): Promise<void>
}

/** Opens a volume plugin; one that is not there, or is no driver of volumes, is an error in Docker's words. */
export async function openPlugin(name: string, sockets: string = PLUGIN_SOCKETS): Promise<VolumePlugin> {
  const plugin = await openPluginSocket(name, 'VolumeDriver', 'volume', sockets)
  const call = (verb: string, body: object): Promise<JsonObject> => plugin(`VolumeDriver.${verb}`, body)
  return {
    create: async (volume, options) => void (await call('Create', { Name: volume, Opts: options })),
    remove: async (volume) => void (await call('Remove', { Name: volume })),
    async mount(volume, id) {
      const path = asString((await call('Mount', { Name: volume, ID: id }))['Mountpoint'], 'Mountpoint')
      if (!path.startsWith('/')) throw new EngineError('internal', `VolumeDriver.Mount: expected an absolute Mountpoint, got ${JSON.stringify(path)}`)
      return path
    },
    unmount: async (volume, id) => void (await call('Unmount', { Name: volume, ID: id })),
  }
}
