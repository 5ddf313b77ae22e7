import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { posix } from 'node:path'
import type { StepMount, StepResult, StepRun } from '@gantry/builder'
import { STREAM, streamFrameDecoder } from '@gantry/api'
import type { Graph, Image } from '@gantry/graph'
import type { StreamServer } from '@gantry/runtime'
import { logger, newId, type UndoStack, undoStack } from '@gantry/std'
import { prepareStream } from '../containers/attach.ts'
import type { Container } from '../containers/container.ts'
import { createContainer, type CreatePorts } from '../containers/create.ts'
import type { Lifecycle } from '../containers/lifecycle.ts'
import { decodeCreate } from '../containers/request/decode-create.ts'
import { waitFor } from '../containers/wait.ts'

const log = logger('daemon.build.runner')

/** What running a step stands on. */
export interface RunnerPorts {
  readonly graph: Graph
  readonly create: CreatePorts
  readonly streams: StreamServer
  readonly lifecycle: Lifecycle
  readonly execRoot: string
  remove(container: Container): Promise<void>
  discard(path: string): void
}

/** Places that are mounted over in any container: nothing below them is in a layer. */
const MOUNTED_OVER = /^\/(dev|proc|sys)(\/|$)/

interface Prepared {
  /** As `POST /containers/create` has them. */
  readonly requests: readonly object[]
  /** Writable layers above those that a mount shows, by target. */
  readonly above: ReadonlyMap<string, string>
}

/** Makes what the mounts of a step show; what it makes goes with the step. */
async function prepareMounts({ graph, execRoot, discard }: RunnerPorts, id: string, mounts: readonly StepMount[], undo: UndoStack): Promise<Prepared> {
  const requests: object[] = []
  const above = new Map<string, string>()
  const directory = `${execRoot}/b/${id}`
  if (mounts.some((mount) => mount.kind === 'file')) {
    undo.add('remove files of the step', () => discard(directory))
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  }
  for (const [index, mount] of mounts.entries()) {
    const { target } = mount
    if (mount.kind === 'tmpfs') requests.push({ Type: 'tmpfs', Target: target, ...(mount.bytes !== undefined && { TmpfsOptions: { SizeBytes: mount.bytes } }) })
    else if (mount.kind === 'directory') requests.push({ Type: 'bind', Source: mount.source, Target: target, ReadOnly: mount.readOnly })
    else if (mount.kind === 'socket') requests.push({ Type: 'bind', Source: mount.source, Target: target })
    else if (mount.kind === 'file') {
      const path = `${directory}/${index}`
      writeFileSync(path, mount.content, { mode: 0o600 })
      chownSync(path, mount.uid, mount.gid)
      chmodSync(path, mount.mode)
      requests.push({ Type: 'bind', Source: path, Target: target, ReadOnly: true })
    } else {
      const lent = graph.lendImage(mount.chainId)
      undo.add('give files of layers back', () => lent[Symbol.dispose]())
      requests.push({ Type: 'image', Source: lent.id, Target: target, ImageOptions: { Subpath: mount.path.replace(/^\/+/, '') } })
      if (mount.readOnly) continue
      const own = newId()
      await graph.createContainer(own, lent, undefined)
      undo.add('remove what a step wrote into a bind', () => graph.removeContainer(own))
      above.set(target, own)
    }
  }
  return { requests, above }
}

/** Mount points, and directories above them, that are only there because something is mounted: they are no part of the step's layer. */
function stubsOf(graph: Graph, image: Image, targets: readonly string[]): readonly string[] {
  const root = graph.look(undefined, image)
  const stubs = new Set<string>()
  for (const target of targets) {
    if (MOUNTED_OVER.test(target)) continue
    for (let at = target; at !== '/'; at = posix.dirname(at)) if (root.find(at) === undefined) stubs.add(at)
  }
  // The deepest first: a directory is left out once all that is in it is.
  return [...stubs].sort((a, b) => b.length - a.length)
}

function emptyStubs(graph: Graph, container: Container, image: Image, stubs: readonly string[]): ReadonlySet<string> {
  const root = graph.look(container.id, image)
  const gone = new Set<string>()
  for (const path of stubs) {
    const seen = root.findEntry(path)?.seen
    if (seen === undefined) continue
    const empty = seen.kind === 'directory' ? root.names(path).every((name) => gone.has(posix.join(path, name))) : seen.kind === 'file' && seen.size === 0
    if (empty) gone.add(path)
  }
  return new Set([...gone].map((path) => Buffer.from(path.slice(1), 'utf8').toString('latin1')))
}

/** Runs a step of a build in a container of its own, which nobody lists, and makes a layer of what it changed. */
export async function runStep(ports: RunnerPorts, step: StepRun): Promise<StepResult> {
  await using undo = undoStack()
  const { graph } = ports
  const id = newId().slice(0, 16)
  const lent = graph.lendImage(step.chainId, { Env: step.env, User: step.config.User ?? '', WorkingDir: step.config.WorkingDir ?? '' })
  undo.add('give the layers back', () => lent[Symbol.dispose]())
  const { requests, above } = await prepareMounts(ports, id, step.mounts, undo)
  const { resources } = step
  const body = decodeCreate({
    Image: lent.id, Cmd: [...step.argv], AttachStdout: true, AttachStderr: true,
    HostConfig: {
      NetworkMode: step.network === 'default' ? '' : step.network, Mounts: requests, ExtraHosts: step.hosts, LogConfig: { Type: 'none' }, Privileged: step.insecure, Memory: resources.memory, MemorySwap: resources.memorySwap, CpuShares: resources.cpuShares,
      CpuPeriod: resources.cpuPeriod, CpuQuota: resources.cpuQuota, CpusetCpus: resources.cpusetCpus, CpusetMems: resources.cpusetMems, ShmSize: resources.shmSize, CgroupParent: resources.cgroupParent, Ulimits: resources.ulimits, SecurityOpt: resources.securityOpt,
    },
  })
  const { container } = await createContainer({ ...ports.create, resolveImage: (name) => graph.images.get(name) ?? ports.create.resolveImage(name) }, { ...body, name: `build-${id}`, platform: '', build: true })
  undo.add('remove the container', () => ports.remove(container))
  if (above.size > 0) container.document = { ...container.document, mounts: container.document.mounts.map((mount) => ({ ...mount, ...(above.has(mount.destination) && { above: above.get(mount.destination) ?? '', readOnly: false }) })) }
  const stubs = stubsOf(graph, lent, step.mounts.map((mount) => mount.target))
  const stream = prepareStream(ports.streams, { stdin: false, stdout: true, stderr: true })
  container.waiting.push(stream)
  const ended = waitFor(container, 'next-exit', () => undefined, step.signal)
  ended.catch(() => undefined)
  const said = listen(stream.expected.socket, step)
  try {
    await ports.lifecycle.start(container)
  } catch (error) {
    stream.expected.cancel('the step did not start')
    return { code: 127, error: error instanceof Error ? error.message : String(error) }
  }
  let code: number
  try {
    code = (await ended).code
  } catch (error) {
    log.debug('a build was given up', { cause: error })
    await stop(ports, container)
    throw error
  }
  await said
  await container.tidy
  if (code !== 0) return { code }
  const left = emptyStubs(graph, container, lent, stubs)
  const layer = await graph.readChanges(container.id, lent, (tar) => graph.importLayer(tar, step.chainId), (path) => left.has(path))
  return { code, layer: { chainId: layer.chainId, diffId: layer.diffId, bytes: layer.bytes } }
}

/** What the process says goes to whoever builds. */
async function listen(socket: Promise<AsyncIterable<Uint8Array>>, step: StepRun): Promise<void> {
  const decode = streamFrameDecoder((stream, payload) => step.output(stream === STREAM.stderr ? 'stderr' : 'stdout', payload))
  try {
    for await (const chunk of await socket) decode(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
  } catch (cause) {
    log.debug('the output of a step ended early', { cause })
  }
}

async function stop(ports: RunnerPorts, container: Container): Promise<void> {
  if (container.task === undefined) return
  const gone = new Promise<void>((resolve) => container.waiters.exit.add(() => resolve()))
  await ports.lifecycle.kill(container, 'SIGKILL')
  await gone
  await container.tidy
}
