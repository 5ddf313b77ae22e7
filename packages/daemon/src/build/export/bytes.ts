import type { BuildResult } from '@gantry/builder'
import { treeToTar } from '@gantry/graph'
import { familiarString, parseReference } from '@gantry/registry'
import type { BuildHandlerPorts } from '../ports.ts'
import { imageRoot } from '../sources.ts'
import type { ExportContext, OutputAnswer, OutputRequest } from './context.ts'
import { openPacker, outputForm } from './form.ts'
import { described, namesOf } from './names.ts'

/** The files of layers as an archive. */
export function readTree<T>(ports: Pick<BuildHandlerPorts, 'trees' | 'graph' | 'execRoot'>, chainId: string | undefined, use: (tar: AsyncIterable<Buffer>) => Promise<T>): Promise<T> {
  return ports.trees.read(imageRoot(ports, chainId), '/', { data: true, oneFilesystem: false }, (reader) => use(treeToTar(reader, { whiteouts: false, rename: (path) => (path === '.' ? undefined : path) })))
}

/** An OCI layout that `docker load` reads, too. Nothing of it stays but what was there before. */
async function withLayout(context: Pick<ExportContext, 'ports' | 'signal'>, result: BuildResult, { Attrs }: OutputRequest, use: (archive: AsyncIterable<Buffer>) => Promise<void>): Promise<OutputAnswer> {
  const { graph } = context.ports
  const names = namesOf(Attrs)
  const before = new Set(graph.images.list().map((image) => image.id))
  const image = result.image()
  using packer = openPacker(context, outputForm(Attrs))
  try {
    await use(graph.save([{ image, names: names.map((name) => familiarString(parseReference(name))) }], packer))
  } finally {
    if (!before.has(image.id) && graph.tags.references(image.id).length === 0) graph.images.remove(image.id)
  }
  return described(image, names)
}

/** What was built as an archive: of its files (`local`, `tar`), or of its image (`docker`, `oci`). */
export async function withBytes(context: Pick<ExportContext, 'ports' | 'signal'>, result: BuildResult, request: OutputRequest, use: (archive: AsyncIterable<Buffer>) => Promise<void>): Promise<OutputAnswer> {
  if (request.Type === 'docker' || request.Type === 'oci') return withLayout(context, result, request, use)
  await readTree(context.ports, result.chainId, use)
  return {}
}
