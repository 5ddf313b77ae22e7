import type { BuildResult } from '@gantry/builder'
import { sendBytes } from '@gantry/buildkit'
import { familiarString, parseReference } from '@gantry/registry'
import type { ExportAnswer, ExportRequest } from '../builds.ts'
import type { ExchangeContext } from '../cache-exchange.ts'
import type { OpenVertex } from '../status-log.ts'
import { archiveForm, openPacker, outputForm } from './form.ts'
import { described, namesOf } from './names.ts'

/** As an archive: an OCI layout that `docker load` reads, too. Nothing of it stays but what was there before. */
export async function toArchive(context: ExchangeContext, exporter: string, result: BuildResult, { Attrs }: ExportRequest, vertex: OpenVertex): Promise<ExportAnswer> {
  const { ports: { graph }, session, signal } = context
  const form = outputForm(Attrs)
  const names = namesOf(Attrs)
  const before = new Set(graph.images.list().map((image) => image.id))
  const image = result.image()
  using packer = openPacker(context, form)
  try {
    vertex.status('exporting layers', { done: true })
    vertex.status('sending tarball')
    await sendBytes(session, exporter, graph.save([{ image, names: names.map((name) => familiarString(parseReference(name))) }], archiveForm(form, packer)), signal)
    vertex.status('sending tarball', { done: true })
  } finally {
    if (!before.has(image.id) && graph.tags.references(image.id).length === 0) graph.images.remove(image.id)
  }
  return described(image, names)
}
