/** Media types of manifests, indexes, configurations and layers (image-spec v1, media-types.md; Docker's schema 2 twins). */
export const MEDIA = {
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
} as const

/** How a layer's archive is packed. */
export type LayerCompression = 'none' | 'gzip' | 'zstd'

const LAYER_TYPES = {
  docker: { none: 'application/vnd.docker.image.rootfs.diff.tar', gzip: MEDIA.dockerLayer, zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd' },
  oci: { none: MEDIA.ociLayer, gzip: MEDIA.ociLayerGzip, zstd: MEDIA.ociLayerZstd },
} as const

/** Names of an image's parts, OCI's or Docker's. */
export type MediaFamily = keyof typeof LAYER_TYPES

/** What a layer that is packed so is called. */
export function layerMediaType(family: MediaFamily, compression: LayerCompression): string {
  return LAYER_TYPES[family][compression]
}

/** How a layer of this type is packed. Schema 1 has no types: its layers are gzip. */
export function layerCompression(mediaType: string): LayerCompression {
  if (mediaType === '') return 'gzip'
  return /[.+]zstd$/.test(mediaType) ? 'zstd' : /[.+]gzip$/.test(mediaType) ? 'gzip' : 'none'
}

/** What a manifest and a configuration are called. */
export function imageMediaTypes(family: MediaFamily): { readonly manifestType: string; readonly configType: string } {
  return family === 'oci' ? { manifestType: MEDIA.ociManifest, configType: MEDIA.ociConfig } : { manifestType: MEDIA.dockerManifest, configType: MEDIA.dockerConfig }
}

/** What a pull says that it reads. */
export const ACCEPTED_MANIFESTS = [MEDIA.dockerManifest, MEDIA.dockerList, MEDIA.ociIndex, MEDIA.ociManifest, MEDIA.dockerSchema1Signed].join(', ')

/** True for layers whose content the registry may not hold (`foreign`, `nondistributable`). */
export function isForeignLayer(mediaType: string): boolean {
  return mediaType.includes('.foreign.') || mediaType.includes('.nondistributable.')
}
