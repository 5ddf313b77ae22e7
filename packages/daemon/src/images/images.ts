import { isSince } from '@gantry/api'
import type { Graph, Image } from '@gantry/graph'
import { EngineError, type ImageConfig, type ImageHistory, type ImageRunConfig, isDigest, parseTimestamp } from '@gantry/std'
import { canonicalName, familiarName, familiarString, parseReference } from '@gantry/registry'
import { type Container, imagesOf } from '../containers/container.ts'
import type { Filters } from '../server/filters.ts'

/** What image work needs of the rest of the house. */
export interface ImagePorts {
  readonly graph: Graph
  containers(): readonly Container[]
  emit(action: string, id: string, attributes: Readonly<Record<string, string>>): void
}

/** Keys of the image list's filter. */
export const IMAGE_FILTERS: ReadonlySet<string> = new Set(['before', 'since', 'dangling', 'label', 'reference', 'until'])

/** By name, name@digest, id or unique id prefix. `asWritten`: an error shows the name as it is, without its tag. */
export function resolveImage(graph: Graph, name: string, options: { readonly asWritten?: boolean } = {}): Image {
  const missing = (text: string): EngineError => new EngineError('not-found', `No such image: ${text}`)
  if (name === '') throw new EngineError('invalid', 'invalid reference format')
  const plain = name.replace(/^sha256:/, '')
  if (/^[0-9a-f]{64}$/.test(plain)) {
    const image = graph.images.get(`sha256:${plain}`)
    if (image === undefined) throw missing(name)
    return image
  }
  let shown = name
  try {
    const reference = parseReference(name)
    const familiar = familiarString(reference)
    if (options.asWritten !== true) shown = familiar
    const tagged = graph.tags.get(familiar)
    const image = tagged === undefined ? undefined : graph.images.get(tagged)
    if (image !== undefined) return image
  } catch (error) {
    if (!/^[0-9a-f]{2,64}$/.test(plain)) throw error
  }
  if (/^[0-9a-f]{2,64}$/.test(plain)) {
    const found = graph.images.find(plain)
    if (found.length > 1) throw new EngineError('invalid', `ambiguous image id prefix: ${name}`)
    const image = found[0] === undefined ? undefined : graph.images.get(found[0])
    if (image !== undefined) return image
  }
  throw missing(shown)
}

/** The full name that an image is to have; what cannot be a name is an error. */
export function tagName(target: string): string {
  const reference = parseReference(target)
  if (reference.digest !== undefined) throw new EngineError('invalid', "refusing to create a tag with a digest reference")
  return familiarString(reference)
}

/** Puts a name on an image. */
export function tagImage(ports: ImagePorts, image: Image, target: string): string {
  const name = tagName(target)
  ports.graph.tags.set(name, image.id)
  ports.emit('tag', image.id, { name })
  return name
}

const createdSeconds = (config: ImageConfig): number => {
  const ms = Date.parse(config.created ?? '')
  return Number.isNaN(ms) ? 0 : Math.floor(ms / 1000)
}

function listMatcher(ports: ImagePorts, filters: Filters): (image: Image, names: readonly string[]) => boolean {
  const dangling = filters.flag('dangling')
  const [before] = filters.values('before').map((name) => createdSeconds(resolveImage(ports.graph, name).config))
  const [since] = filters.values('since').map((name) => createdSeconds(resolveImage(ports.graph, name).config))
  const until = filters.values('until').map((text) => Number(parseTimestamp(text) / 1_000_000_000n))
  const patterns = filters.values('reference').map((pattern) => new RegExp(`^${pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^/]*').replaceAll('?', '.')}${pattern.slice(pattern.lastIndexOf('/') + 1).includes(':') ? '' : '(:.*|@.*)?'}$`))
  return (image, names) => {
    const created = createdSeconds(image.config)
    return (
      (dangling === undefined || dangling === (names.length === 0)) &&
      (before === undefined || created < before) &&
      (since === undefined || created > since) &&
      until.every((limit) => created < limit) &&
      filters.labels('label', image.config.config?.Labels ?? {}) &&
      (patterns.length === 0 || names.some((name) => patterns.some((pattern) => pattern.test(name))))
    )
  }
}

/** `GET /images/json`. */
export function listImages(ports: ImagePorts, query: { readonly all: boolean; readonly filters: Filters }): readonly unknown[] {
  const { graph } = ports
  const matches = listMatcher(ports, query.filters)
  const used = new Map<string, number>()
  for (const container of ports.containers()) used.set(container.document.imageId, (used.get(container.document.imageId) ?? 0) + 1)
  const patterns = query.filters.values('reference')
  return graph.images
    .list()
    .map((image) => ({ image, names: graph.tags.references(image.id) }))
    .filter(({ image, names }) => matches(image, names) && (query.all || names.length > 0 || graph.images.children(image.id).length === 0))
    .sort((a, b) => createdSeconds(b.image.config) - createdSeconds(a.image.config))
    .map(({ image, names }) => ({
      Containers: used.get(image.id) ?? 0,
      Created: createdSeconds(image.config),
      Id: image.id,
      Labels: image.config.config?.Labels ?? null,
      ParentId: image.parent ?? '',
      RepoDigests: names.filter((name) => name.includes('@')),
      RepoTags: names.filter((name) => !name.includes('@') && (patterns.length === 0 || matches(image, [name]))),
      SharedSize: -1,
      Size: graph.images.bytes(image),
    }))
}

/** Fields that have something in them. */
function setOnly(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null && value !== '' && value !== false))
}

/** `Identity`: repositories that it has been pulled from or pushed to. */
function pulledFrom(names: readonly string[]): object {
  const repositories = new Set(names.filter((name) => name.includes('@')).map((name) => canonicalName(parseReference(name))))
  return repositories.size === 0 ? {} : { Identity: { Pull: [...repositories].map((Repository) => ({ Repository })) } }
}

function runConfigView(config: ImageRunConfig | undefined, apiVersion: number): unknown {
  const view = {
    ...(config?.ExposedPorts && { ExposedPorts: config.ExposedPorts }),
    Env: config?.Env ?? null, Cmd: config?.Cmd ?? null, ...(config?.Healthcheck !== undefined && { Healthcheck: config.Healthcheck }), Volumes: config?.Volumes ?? null, WorkingDir: config?.WorkingDir ?? '', Entrypoint: config?.Entrypoint ?? null, OnBuild: config?.OnBuild ?? null,
    Labels: config?.Labels ?? null, User: config?.User ?? '', ...(config?.StopSignal && { StopSignal: config.StopSignal }), ...(config?.Shell && { Shell: config.Shell }), ...((config?.ArgsEscaped === true || !isSince(apiVersion, '1.50')) && { ArgsEscaped: config?.ArgsEscaped ?? false }),
  }
  return isSince(apiVersion, '1.52') ? setOnly(view) : view
}

/** `GET /images/{name}/json`. */
export function inspectImage(ports: ImagePorts, image: Image, apiVersion: number): unknown {
  const { config } = image
  const names = ports.graph.tags.references(image.id)
  const size = ports.graph.images.bytes(image)
  const places = ports.graph.places(image)
  return {
    Id: image.id,
    RepoTags: names.filter((name) => !name.includes('@')),
    RepoDigests: names.filter((name) => name.includes('@')),
    ...(isSince(apiVersion, '1.52') ? setOnly({ Comment: config.history?.at(-1)?.comment, Author: config.author }) : { Parent: image.parent ?? '', Comment: config.history?.at(-1)?.comment ?? '', DockerVersion: config.docker_version ?? '', Author: config.author ?? '' }),
    Created: config.created ?? '0001-01-01T00:00:00Z',
    Config: runConfigView(config.config, apiVersion),
    ...(isSince(apiVersion, '1.53') && pulledFrom(names)),
    Architecture: config.architecture ?? '',
    ...(config.variant && { Variant: config.variant }),
    Os: config.os ?? 'linux',
    Size: size,
    ...(!isSince(apiVersion, '1.44') && { VirtualSize: size }),
    GraphDriver: { Data: places.length === 0 ? {} : ports.graph.driver.describeImage(places), Name: ports.graph.driver.name },
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: new Date(image.addedAt).toISOString() },
  }
}

/** `GET /images/{name}/history`, newest first. */
export function imageHistory(ports: ImagePorts, image: Image): readonly unknown[] {
  const layers = [...ports.graph.images.layers(image)].reverse()
  let used = 0
  const steps = (image.config.history ?? []).map((step: ImageHistory) => {
    const layer = step.empty_layer === true ? undefined : layers[used++]
    return { Comment: step.comment ?? '', Created: Math.floor(Date.parse(step.created ?? '') / 1000) || 0, CreatedBy: step.created_by ?? '', Id: '<missing>', Size: layer?.bytes ?? 0, Tags: null as readonly string[] | null }
  })
  const newest = steps.at(-1)
  if (newest !== undefined) Object.assign(newest, { Id: image.id, Tags: ports.graph.tags.references(image.id) })
  return steps.reverse()
}

/** One line of `DELETE /images/{name}`'s answer. */
export type Deleted = { readonly Untagged: string } | { readonly Deleted: string }

/** Takes a name away, and the image with it when that was the last. */
export function removeImage(ports: ImagePorts, name: string, options: { readonly force: boolean; readonly keepParents?: boolean }): readonly Deleted[] {
  const { graph } = ports
  const image = resolveImage(graph, name)
  const names = graph.tags.references(image.id)
  const byId = image.id.startsWith(name.startsWith('sha256:') ? name : `sha256:${name}`) && !names.includes(tryFamiliar(name))
  const users = ports.containers().filter((container) => imagesOf(container).includes(image.id))
  const running = users.find((container) => container.task !== undefined)
  const short = (id: string): string => id.replace('sha256:', '').slice(0, 12)
  const deleted: Deleted[] = []
  const untag = (reference: string): void => {
    graph.tags.remove(reference)
    ports.emit('untag', image.id, { name: image.id })
    deleted.push({ Untagged: reference })
  }
  if (byId) {
    if (new Set(names.map((one) => familiarName(parseReference(one)))).size > 1 && !options.force) throw new EngineError('conflict', `conflict: unable to delete ${short(image.id)} (must be forced) - image is referenced in multiple repositories`)
    if (running !== undefined) throw new EngineError('conflict', `conflict: unable to delete ${short(image.id)} (cannot be forced) - image is being used by running container ${short(running.id)}`)
    if (users[0] !== undefined && !options.force) throw new EngineError('conflict', `conflict: unable to delete ${short(image.id)} (must be forced) - image is being used by stopped container ${short(users[0].id)}`)
    for (const reference of names) untag(reference)
  } else {
    const reference = tryFamiliar(name)
    if (names.length === 1 && users.length > 0 && !options.force) {
      const one = running ?? users[0]
      throw new EngineError('conflict', `conflict: unable to remove repository reference "${name}" (must force) - container ${short(one?.id ?? '')} is using its referenced image ${short(image.id)}`)
    }
    untag(reference)
    const left = graph.tags.references(image.id)
    const repository = `${reference.slice(0, Math.max(reference.indexOf('@'), reference.lastIndexOf(':')))}`
    // Digests of a repository stay no longer than its last tag.
    if (!reference.includes('@') && !left.some((one) => one.startsWith(`${repository}:`))) for (const one of left) if (one.startsWith(`${repository}@`)) untag(one)
    if (graph.tags.references(image.id).length > 0) return deleted
  }
  // A container keeps its layers: a forced removal only takes the name.
  if (users.length > 0) return deleted
  if (graph.images.children(image.id).length > 0) return deleted
  const layers = graph.images.remove(image.id)
  graph.content.drop(image.id)
  ports.emit('delete', image.id, { name: image.id })
  const gone = [...deleted, { Deleted: image.id }, ...layers.map((id) => ({ Deleted: id }))]
  const parent = options.keepParents === true || image.parent === undefined ? undefined : graph.images.get(image.parent)
  // What it was made from has no name and nobody who uses it: a step on the way that nobody wants any more.
  const isStep = parent !== undefined && graph.tags.references(parent.id).length === 0 && graph.images.children(parent.id).length === 0 && !ports.containers().some((container) => imagesOf(container).includes(parent.id))
  return isStep ? [...gone, ...removeImage(ports, parent.id, { force: false })] : gone
}

function tryFamiliar(name: string): string {
  try {
    return familiarString(parseReference(name))
  } catch (error) {
    if (error instanceof EngineError) return name
    throw error
  }
}

/** Names of a repository's images, or the one that is named: what `save` writes. */
export function savedNames(graph: Graph, name: string): readonly { readonly image: Image; readonly names: readonly string[] }[] {
  const plain = name.replace(/^sha256:/, '')
  const direct = (): { readonly image: Image; readonly names: readonly string[] } => {
    const image = resolveImage(graph, name, { asWritten: true })
    const reference = tryFamiliar(name)
    return { image, names: graph.tags.get(reference) === image.id && !reference.includes('@') ? [reference] : [] }
  }
  if (isDigest(name) || /^[0-9a-f]{12,64}$/.test(plain)) return [direct()]
  const reference = parseReference(name)
  if (reference.tag !== undefined || reference.digest !== undefined) return [direct()]
  const repository = familiarName(reference)
  const all = graph.tags.list().filter((tag) => tag.reference.startsWith(`${repository}:`) && !tag.reference.slice(repository.length + 1).includes('/'))
  if (all.length === 0) return [direct()]
  return all.map((tag) => ({ image: resolveImage(graph, tag.reference), names: [tag.reference] }))
}
