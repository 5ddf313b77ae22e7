import { asInteger, asList, asObject, asString, asStringMap, type Descriptor, EngineError, isDigest } from '@gantry/std'
import { MEDIA } from './media-types.ts'

/** An image: its configuration and its layers, lowest first. */
export interface Manifest {
  readonly kind: 'manifest'
  readonly mediaType: string
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
  /** What it belongs to (distribution-spec, "Listing Referrers"). */
  readonly subject: Descriptor | undefined
  readonly artifactType: string
  readonly annotations: Readonly<Record<string, string>>
}

/** Images for several platforms. */
export interface Index {
  readonly kind: 'index'
  readonly mediaType: string
  readonly manifests: readonly Descriptor[]
  readonly subject: Descriptor | undefined
  readonly artifactType: string
  readonly annotations: Readonly<Record<string, string>>
}

/** Longest manifest that is read, in bytes (distribution-spec, "Pushing Manifests": at least 4 MiB). */
export const MANIFEST_LIMIT = 4 << 20
const ENTRIES_LIMIT = 4096

function descriptor(value: unknown, field: string): Descriptor {
  const object = asObject(value, field)
  const digest = asString(object['digest'], `${field}.digest`)
  const size = asInteger(object['size'], `${field}.size`)
  if (!isDigest(digest)) throw new EngineError('invalid', `${field}.digest: expected sha256:<64 hexadecimal digits>, got ${JSON.stringify(digest)}`)
  if (size < 0) throw new EngineError('invalid', `${field}.size: expected a size in bytes, got ${size}`)
  const platform = object['platform'] === undefined ? undefined : asObject(object['platform'], `${field}.platform`)
  const variant = asString(platform?.['variant'], `${field}.platform.variant`)
  return {
    mediaType: asString(object['mediaType'], `${field}.mediaType`), digest, size,
    ...(platform && { platform: { architecture: asString(platform['architecture'], `${field}.platform.architecture`), os: asString(platform['os'], `${field}.platform.os`), ...(variant !== '' && { variant }) } }),
    ...(object['annotations'] !== undefined && { annotations: asStringMap(object['annotations'], `${field}.annotations`) }),
  }
}

function descriptors(value: unknown, field: string): readonly Descriptor[] {
  const list = asList(value, field)
  if (list.length > ENTRIES_LIMIT) throw new EngineError('invalid', `${field}: ${list.length} entries, more than ${ENTRIES_LIMIT}`)
  return list.map((item, index) => descriptor(item, `${field}[${index}]`))
}

/** Reads a manifest or an index. `contentType` is what the registry calls it; the document's own word wins. */
export function parseManifest(bytes: Buffer, contentType: string): Manifest | Index {
  if (bytes.length > MANIFEST_LIMIT) throw new EngineError('invalid', `manifest of ${bytes.length} bytes, more than ${MANIFEST_LIMIT}`)
  let parsed: unknown
  try {
    parsed = JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw new EngineError('invalid', 'manifest is not JSON', { cause })
  }
  const document = asObject(parsed, 'manifest')
  const [type = ''] = contentType.split(';')
  const mediaType = asString(document['mediaType'], 'mediaType') || type.trim()
  if (document['schemaVersion'] === 1 || mediaType === MEDIA.dockerSchema1 || mediaType === MEDIA.dockerSchema1Signed) {
    throw new EngineError('unsupported', 'the image is kept in the manifest format schema 1, which is not supported: push it again with a current tool, as schema 2 or OCI')
  }
  if (document['schemaVersion'] !== 2) throw new EngineError('invalid', `manifest: schemaVersion: expected 2, got ${JSON.stringify(document['schemaVersion'])}`)
  const common = {
    subject: document['subject'] === undefined || document['subject'] === null ? undefined : descriptor(document['subject'], 'subject'),
    artifactType: asString(document['artifactType'], 'artifactType'),
    annotations: asStringMap(document['annotations'], 'annotations'),
  }
  // A document that is both could be read as one image here and as another there (CVE-2021-41190).
  if (document['manifests'] !== undefined && (document['layers'] !== undefined || document['config'] !== undefined)) throw new EngineError('invalid', 'manifest: has both "manifests" and "layers" or "config"')
  if (document['manifests'] !== undefined || mediaType === MEDIA.ociIndex || mediaType === MEDIA.dockerList) {
    return { kind: 'index', mediaType: mediaType || MEDIA.ociIndex, manifests: descriptors(document['manifests'], 'manifests'), ...common }
  }
  if (document['config'] === undefined) throw new EngineError('invalid', 'manifest: config is missing')
  return { kind: 'manifest', mediaType: mediaType || MEDIA.ociManifest, config: descriptor(document['config'], 'config'), layers: descriptors(document['layers'], 'layers'), ...common }
}
