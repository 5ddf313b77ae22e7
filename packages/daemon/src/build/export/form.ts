import { rmSync } from 'node:fs'
import { imageMediaTypes, layerMediaType } from '@gantry/registry'
import { fileChunks, type Layer, layerTar, type SavedLayer, type SaveForm } from '@gantry/graph'
import { EngineError, randomHex } from '@gantry/std'
import type { Packing } from '../../images/process/protocol.ts'
import type { PushForm } from '../../images/push.ts'
import type { ExportContext } from './context.ts'

/** What a client says of an output. */
export type Attributes = Readonly<Record<string, string>>

const LEVELS = { gzip: [0, 9], zstd: [1, 22] } as const
const COMPRESSIONS: Readonly<Record<string, Packing['compression']>> = { uncompressed: 'none', gzip: 'gzip', zstd: 'zstd' }

/** True for what Go reads as true. Anything that is neither true nor false is an error that names the attribute. */
export function flagOf(attributes: Attributes, name: string): boolean | undefined {
  const text = attributes[name] ?? ''
  if (text === '') return undefined
  if (/^(?:1|t|true)$/i.test(text)) return true
  if (/^(?:0|f|false)$/i.test(text)) return false
  throw new EngineError('invalid', `output: ${name}=${text}: expected true or false`)
}

function packingOf(attributes: Attributes): Packing | undefined {
  const { compression: name = '', 'compression-level': text = '' } = attributes
  if (name === 'estargz') throw new EngineError('unsupported', 'output: compression=estargz: not supported by this version of Gantry')
  const compression = name === '' && text !== '' ? 'gzip' : COMPRESSIONS[name]
  if (compression === undefined && name !== '') throw new EngineError('invalid', `output: compression=${name}: expected uncompressed, gzip or zstd`)
  if (compression === undefined || compression === 'none' || text === '') return compression && { compression, level: undefined }
  const [least, most] = LEVELS[compression]
  const level = Number(text)
  if (!/^\d{1,2}$/.test(text) || level < least || level > most) throw new EngineError('invalid', `output: compression-level=${text}: expected a number from ${least} to ${most}`)
  return { compression, level }
}

/** How layers go out, and what they are called: `compression`, `compression-level`, `force-compression`, `oci-mediatypes` of BuildKit's outputs and caches. */
export function outputForm(attributes: Attributes): Required<PushForm> {
  const oci = flagOf(attributes, 'oci-mediatypes')
  return { packing: packingOf(attributes), force: flagOf(attributes, 'force-compression') === true, family: oci === undefined ? undefined : oci ? 'oci' : 'docker' }
}

/** The form of an archive, or of layers for a directory of a client; files that they are packed into go with it. */
export interface Packer extends SaveForm, Disposable {
  layer(layer: Layer): Promise<SavedLayer>
}

async function* readOnce(path: string): AsyncGenerator<Buffer> {
  yield* fileChunks(path)
  rmSync(path)
}

/** Makes a packer for one output. Layers that nobody wants packed are read as they are. */
export function openPacker({ ports: { graph, images }, signal }: Pick<ExportContext, 'ports' | 'signal'>, { packing, family }: PushForm): Packer {
  const types = family ?? 'oci'
  const paths: string[] = []
  return {
    ...imageMediaTypes(types),
    async layer({ chainId, diffId, tarBytes }) {
      const source = graph.layers.source(chainId)
      if (packing === undefined || packing.compression === 'none') return { digest: diffId, size: tarBytes, mediaType: layerMediaType(types, 'none'), read: () => layerTar(source) }
      const path = `${graph.staging}/pack-${randomHex(8)}`
      paths.push(path)
      const { digest, size } = await images.push.work.run('pack-layer', { source, bytes: tarBytes, packing, path }, { signal })
      return { digest, size, mediaType: layerMediaType(types, packing.compression), read: () => readOnce(path) }
    },
    [Symbol.dispose]: () => {
      for (const path of paths) rmSync(path, { force: true })
    },
  }
}
