import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { ANONYMOUS, canonicalName, createRegistryClient, type Manifest, MEDIA, parseManifest, parseReference, type Platform, type RawManifest, type Reference, REGISTRY_OF_DEFAULT, DEFAULT_DOMAIN, type RegistryClient } from '@gantry/registry'
import { asList, asObject, asString, collect, type Descriptor, EngineError, readText, replaceFile } from '@gantry/std'
import type { Command } from '../command.ts'
import { configDirectory } from '../config-file.ts'
import { openCredentials, serverOf } from '../credentials.ts'
import type { Flag, Parsed } from '../flags.ts'

/** An image of a list, as it was found. */
interface Entry {
  readonly name: string
  readonly descriptor: Descriptor
}
/** A list of manifests that is being put together. */
interface List {
  readonly name: string
  readonly entries: readonly Entry[]
}

const CONFIG_LIMIT = 8 << 20
const INSECURE: Flag = { name: 'insecure', kind: 'bool', help: 'Allow communication with an insecure registry' }
const isLocal = (domain: string): boolean => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(domain)
const tagOf = (reference: Reference): string => reference.digest ?? reference.tag ?? 'latest'
const fullName = (reference: Reference): string => `${canonicalName(reference)}${reference.digest === undefined ? `:${reference.tag ?? 'latest'}` : `@${reference.digest}`}`

/** Talks to the registry of a name, as the user that is logged in there. */
async function registryOf(reference: Reference, insecure: boolean): Promise<RegistryClient> {
  const host = reference.domain === DEFAULT_DOMAIN ? REGISTRY_OF_DEFAULT : reference.domain
  const auth = await openCredentials(configDirectory(process.env)).find(serverOf(canonicalName(reference)))
  const base = `${insecure || isLocal(reference.domain) ? 'http' : 'https'}://${host}`
  return createRegistryClient({ base, tls: { verify: !insecure, ca: [], cert: '', key: '' } }, auth === undefined ? ANONYMOUS : { ...ANONYMOUS, username: auth.username ?? '', password: auth.password ?? '', identityToken: auth.identitytoken ?? '' })
}

async function fetchManifest(reference: Reference, insecure: boolean): Promise<RawManifest> {
  using client = await registryOf(reference, insecure)
  try {
    return await client.manifest(reference.path, tagOf(reference))
  } catch (cause) {
    if (!(cause instanceof EngineError) || cause.kind !== 'not-found') throw cause
    throw new EngineError('not-found', `no such manifest: ${fullName(reference).replace(/^docker\.io\/(library\/)?/, '')}`, { cause })
  }
}

/** What an image runs on, from its configuration. */
async function platformOf(reference: Reference, manifest: Manifest, insecure: boolean): Promise<Platform> {
  using client = await registryOf(reference, insecure)
  const { stream } = await client.blob(reference.path, manifest.config.digest, 0)
  const config = asObject(JSON.parse((await collect(stream, CONFIG_LIMIT)).toString('utf8')), 'config')
  return { os: asString(config['os'], 'os') || 'linux', architecture: asString(config['architecture'], 'architecture'), variant: asString(config['variant'], 'variant') }
}

const storePath = (name: string): string => `${configDirectory(process.env)}/gantry-manifests/${encodeURIComponent(name)}.json`

function readList(name: string): List | undefined {
  const text = readText(storePath(name))
  if (text === undefined) return undefined
  const document = asObject(JSON.parse(text), name)
  return { name, entries: asList(document['entries'], 'entries') as readonly Entry[] }
}

function writeList(list: List): void {
  mkdirSync(`${configDirectory(process.env)}/gantry-manifests`, { recursive: true, mode: 0o700 })
  replaceFile(storePath(list.name), JSON.stringify(list))
}

function known(name: string): List {
  const list = readList(fullName(parseReference(name)))
  if (list === undefined) throw new EngineError('not-found', `No such manifest: ${name}`)
  return list
}

const document = (list: List): object => ({ schemaVersion: 2, mediaType: MEDIA.dockerList, manifests: list.entries.map(({ descriptor }) => descriptor) })

async function create(parsed: Parsed): Promise<string> {
  const [target = '', ...names] = parsed.rest
  const name = fullName(parseReference(target))
  const before = readList(name)
  if (before !== undefined && !parsed.bool('amend')) throw new EngineError('conflict', 'refusing to amend an existing manifest list with no --amend flag')
  const entries = [...(before?.entries ?? [])]
  for (const one of names) {
    const reference = parseReference(one)
    const raw = await fetchManifest(reference, parsed.bool('insecure'))
    const manifest = parseManifest(raw.bytes, raw.mediaType)
    if (manifest.kind === 'index') throw new EngineError('invalid', `${one} is a manifest list: a list holds images`)
    const { os, architecture, variant } = await platformOf(reference, manifest, parsed.bool('insecure'))
    const entry = { name: fullName(reference), descriptor: { mediaType: manifest.mediaType, digest: raw.digest, size: raw.bytes.length, platform: { architecture, os, ...(variant !== '' && { variant }) } } }
    const at = entries.findIndex((other) => other.name === entry.name)
    if (at < 0) entries.push(entry)
    else entries[at] = entry
  }
  writeList({ name, entries })
  return `Created manifest list ${name}\n`
}

function annotate(parsed: Parsed): void {
  const [target = '', image = ''] = parsed.rest
  const list = known(target)
  const name = fullName(parseReference(image))
  if (!list.entries.some((entry) => entry.name === name)) throw new EngineError('not-found', `manifest for image ${image} does not exist in ${target}`)
  const given = Object.fromEntries([['os', 'os'], ['arch', 'architecture'], ['variant', 'variant'], ['os-version', 'os.version']].flatMap(([flag = '', key = '']) => (parsed.text(flag) === '' ? [] : [[key, parsed.text(flag)]])))
  const features = parsed.list('os-features').flatMap((one) => one.split(','))
  writeList({ name: list.name, entries: list.entries.map((entry) => (entry.name !== name ? entry : { name, descriptor: { ...entry.descriptor, platform: { architecture: '', os: 'linux', ...entry.descriptor.platform, ...given, ...(features.length > 0 && { 'os.features': features }) } } })) })
}

/** Brings an image to the repository of the list: by a mount, or byte by byte. */
async function bring(entry: Entry, target: Reference, client: RegistryClient, insecure: boolean): Promise<void> {
  const source = parseReference(entry.name)
  if (canonicalName(source) === canonicalName(target)) return
  using from = await registryOf(source, insecure)
  const raw = await from.manifest(source.path, entry.descriptor.digest)
  const manifest = parseManifest(raw.bytes, raw.mediaType)
  if (manifest.kind === 'index') throw new EngineError('invalid', `${entry.name} has become a manifest list`)
  for (const { digest } of [manifest.config, ...manifest.layers]) {
    if (await client.hasBlob(target.path, digest)) continue
    const upload = await client.startUpload(target.path, source.domain === target.domain ? { digest, from: source.path } : undefined)
    if (upload.kind === 'mounted') continue
    const { stream } = await from.blob(source.path, digest, 0)
    await client.finishUpload(target.path, await client.sendUpload(target.path, upload.location, stream), digest)
  }
  await client.putManifest(target.path, raw.digest, raw.mediaType, raw.bytes)
}

async function push(parsed: Parsed): Promise<string> {
  const [target = ''] = parsed.rest
  const list = known(target)
  const reference = parseReference(target)
  const insecure = parsed.bool('insecure')
  for (const { name, descriptor } of list.entries) if (!descriptor.platform?.os || !descriptor.platform.architecture) throw new EngineError('invalid', `manifest ${name} must have an OS and Architecture to be pushed to a registry`)
  using client = await registryOf(reference, insecure)
  for (const entry of list.entries) await bring(entry, reference, client, insecure)
  const digest = await client.putManifest(reference.path, tagOf(reference), MEDIA.dockerList, Buffer.from(JSON.stringify(document(list), undefined, 3)))
  if (parsed.bool('purge')) rmSync(storePath(list.name))
  return `${digest}\n`
}

async function inspect(parsed: Parsed): Promise<string> {
  const [first = '', second] = parsed.rest
  const insecure = parsed.bool('insecure')
  const local = readList(fullName(parseReference(first)))
  if (second === undefined && local !== undefined) return `${JSON.stringify(document(local), undefined, '\t')}\n`
  const reference = parseReference(second ?? first)
  const raw = await fetchManifest(reference, insecure)
  const parsedManifest = parseManifest(raw.bytes, raw.mediaType)
  const content = JSON.parse(raw.bytes.toString('utf8')) as object
  if (!parsed.bool('verbose')) return `${JSON.stringify(content, undefined, '\t')}\n`
  const view = async (one: Reference, bytes: RawManifest, manifest: Manifest): Promise<object> => ({ Ref: fullName(one), Descriptor: { mediaType: manifest.mediaType, digest: bytes.digest, size: bytes.bytes.length, platform: await platformOf(one, manifest, insecure) }, Raw: bytes.bytes.toString('base64'), [manifest.mediaType === MEDIA.ociManifest ? 'OCIManifest' : 'SchemaV2Manifest']: JSON.parse(bytes.bytes.toString('utf8')) })
  if (parsedManifest.kind === 'manifest') return `${JSON.stringify(await view(reference, raw, parsedManifest), undefined, '\t')}\n`
  const views: object[] = []
  for (const { digest } of parsedManifest.manifests) {
    const one = { ...reference, digest, tag: undefined }
    const bytes = await fetchManifest(one, insecure)
    const manifest = parseManifest(bytes.bytes, bytes.mediaType)
    if (manifest.kind === 'manifest') views.push(await view(one, bytes, manifest))
  }
  return `${JSON.stringify(views, undefined, '\t')}\n`
}

const printed = (work: (parsed: Parsed) => Promise<string>): Command['run'] => async (_, parsed) => {
  process.stdout.write(await work(parsed))
  return 0
}

/** Lists of images for several platforms: made here, kept in a registry. They need no daemon. */
export const MANIFEST_COMMANDS: readonly Command[] = [
  { names: ['manifest create'], usage: 'manifest create [OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]', help: 'Create a local manifest list for annotating and pushing to a registry', offline: true, flags: [{ name: 'amend', short: 'a', kind: 'bool', help: 'Amend an existing manifest list' }, INSECURE], run: printed(create) },
  {
    names: ['manifest annotate'], usage: 'manifest annotate [OPTIONS] MANIFEST_LIST MANIFEST', help: 'Add additional information to a local image manifest', offline: true,
    flags: [{ name: 'arch', kind: 'text', help: 'Set architecture' }, { name: 'os', kind: 'text', help: 'Set operating system' }, { name: 'os-features', kind: 'list', help: 'Set operating system feature' }, { name: 'os-version', kind: 'text', help: 'Set operating system version' }, { name: 'variant', kind: 'text', help: 'Set architecture variant' }],
    run: async (_, parsed) => (annotate(parsed), 0),
  },
  { names: ['manifest inspect'], usage: 'manifest inspect [OPTIONS] MANIFEST [MANIFEST_OF_LIST]', help: 'Display an image manifest, or manifest list', offline: true, flags: [INSECURE, { name: 'verbose', short: 'v', kind: 'bool', help: 'Output additional info including layers and platform' }], run: printed(inspect) },
  { names: ['manifest push'], usage: 'manifest push [OPTIONS] MANIFEST_LIST', help: 'Push a manifest list to a repository', offline: true, flags: [INSECURE, { name: 'purge', short: 'p', kind: 'bool', help: 'Remove the local manifest list after push' }], run: printed(push) },
  {
    names: ['manifest rm'], usage: 'manifest rm MANIFEST_LIST [MANIFEST_LIST...]', help: 'Delete one or more manifest lists from local storage', offline: true, flags: [],
    run: printed(async (parsed) => {
      for (const name of parsed.rest) {
        const path = storePath(fullName(parseReference(name)))
        if (!existsSync(path)) throw new EngineError('not-found', `No such manifest: ${name}`)
        rmSync(path)
      }
      return ''
    }),
  },
]
