import { asImage, type BindSource, type BuildContext, type BuildPlatform, type BuildPorts } from '@gantry/builder'
import { copyDown, type Graph, type Image, treeToTar } from '@gantry/graph'
import { type Credentials, familiarString, hostPlatform, parsePlatform, parseReference, platformFits, type Reference } from '@gantry/registry'
import type { TreeRoot } from '@gantry/runtime'
import { EngineError, readText } from '@gantry/std'
import { resolveImage } from '../images/images.ts'
import { pullImage } from '../images/pull.ts'
import type { Tell } from '../images/progress.ts'
import { openUrl } from '../images/remote-archive.ts'
import type { BuildHandlerPorts } from './ports.ts'
import { isGitSource, parseGitSource, withGitSource } from './git.ts'

/** What one build adds: where it tells of pulls, and who it is to registries. */
export interface BuildSession {
  readonly tell: Tell
  credentials(reference: Reference): Promise<Credentials>
}

function localImage(graph: Graph, name: string, platform: string): Image | undefined {
  try {
    const image = resolveImage(graph, name)
    return platform === '' || platformFits(parsePlatform(platform), image.config) ? image : undefined
  } catch (error) {
    if (error instanceof EngineError && error.kind === 'not-found') return undefined
    throw error
  }
}

/** Names that qemu has for processors, in binfmt_misc's entries. */
const QEMU: Readonly<Record<string, string>> = { amd64: 'x86_64', '386': 'i386', arm64: 'aarch64', mips64le: 'mips64el' }

/** True where the kernel runs such programs: by itself, or with what is registered for them (Documentation/admin-guide/binfmt-misc.rst). */
function runs({ architecture }: BuildPlatform): boolean {
  const host = hostPlatform().architecture
  if (architecture === host || (host === 'amd64' && architecture === '386') || (host === 'arm64' && architecture === 'arm')) return true
  return (readText(`/proc/sys/fs/binfmt_misc/qemu-${QEMU[architecture] ?? architecture}`) ?? '').startsWith('enabled')
}

/** Files of a repository as a context. */
export function gitContext(ports: Pick<BuildHandlerPorts, 'contexts' | 'trees' | 'graph'>, source: string, { keepGitDirectory, signal }: { readonly keepGitDirectory: boolean; readonly signal: AbortSignal }): Promise<BuildContext> {
  const isOwn = (path: string): boolean => !keepGitDirectory && (path === '.git' || path.startsWith('.git/'))
  return withGitSource(parseGitSource(source), ports.graph.staging, signal, (folder) =>
    ports.trees.read({ kind: 'directory', path: folder }, '/', { data: true, oneFilesystem: true }, (reader) => ports.contexts.receive(treeToTar(reader, { whiteouts: false, rename: (path) => (isOwn(path) ? undefined : path === '.' ? './' : path) }))),
  )
}

/** Layers as a tree that can be read. */
export function imageRoot({ graph, execRoot }: Pick<BuildHandlerPorts, 'graph' | 'execRoot'>, chainId: string | undefined): TreeRoot {
  return { kind: 'mount', root: graph.driver.imageRecipe(graph.places(asImage(chainId))), mountPoint: `${execRoot}/rootfs`, binds: [] }
}

/** Copies a directory of layers into an empty one. */
export function fillDirectory(ports: Pick<BuildHandlerPorts, 'graph' | 'execRoot' | 'trees'>, { chainId, path }: BindSource, to: string): Promise<void> {
  return copyDown(ports.trees, imageRoot(ports, chainId), path, to, { oneFilesystem: false })
}

/** The house as a build sees it. */
export function buildPorts(ports: BuildHandlerPorts, session: BuildSession): BuildPorts {
  const { graph, trees, contexts, cache, mounts } = ports
  return {
    graph, contexts, cache, run: (step) => ports.run(step), host: hostPlatform(), runs,
    async image(name, platform, { pull, signal }) {
      const known = localImage(graph, name, platform)
      if (known !== undefined && !pull) return known
      const named = parseReference(name)
      const reference = named.tag === undefined && named.digest === undefined ? { ...named, tag: 'latest' } : named
      await pullImage(ports.images.pull, { reference, platform: platform === '' ? undefined : parsePlatform(platform), credentials: await session.credentials(reference), tell: session.tell, signal, allTags: false })
      return resolveImage(graph, familiarString(reference))
    },
    async readFiles(chainId, path, options, use) {
      return trees.read(imageRoot(ports, chainId), path, { data: true, oneFilesystem: false }, (reader) => use(treeToTar(reader, { whiteouts: false, hardlinks: options.hardlinks, rename: (member) => (member === '.' ? './' : member) })))
    },
    cacheDirectory: (request, signal) => mounts.take(request, signal),
    isGit: isGitSource,
    gitContext: (source, options) => gitContext(ports, source, options),
    async download(url, signal) {
      const remote = await openUrl(url, signal)
      if (!remote.sized) throw new EngineError('unsupported', `${url}: the server does not say how large the file is`)
      const path = decodeURIComponent(new URL(remote.url).pathname)
      const name = path.slice(path.lastIndexOf('/') + 1)
      return { body: remote.body, bytes: remote.bytes, lastModified: remote.lastModified, name: name === '' ? 'index' : name }
    },
  }
}

/** `linux/arm64` of a request, or this machine's. */
export function platformOf(text: string): BuildPlatform {
  return text === '' ? hostPlatform() : parsePlatform(text)
}
