import type { DeviceRequest } from '@gantry/api'
import type { HookName, OciDevice, OciDeviceRule, OciSpec } from '@gantry/runtime'
import { EngineError } from '@gantry/std'
import { hostDevice } from '../spec/resources.ts'
import { type CdiNode, type CdiSpec, type ContainerEdits, readCdiSpecs } from './specs.ts'

function unresolvable(names: readonly string[]): EngineError {
  return new EngineError('invalid', `CDI device injection failed: unresolvable CDI devices ${names.join(', ')}`)
}

/** `--gpus`: devices of the kind that graphics cards are listed under. */
function gpuNames(request: DeviceRequest, specs: readonly CdiSpec[]): readonly string[] {
  const kinds = specs.filter((spec) => spec.kind.endsWith('/gpu') && (request.Driver === '' || spec.kind.startsWith(`${request.Driver}.`)))
  const [spec] = kinds
  if (spec === undefined) throw new EngineError('invalid', `could not select device driver "${request.Driver}" with capabilities: [${request.Capabilities.map((all) => `[${all.join(' ')}]`).join(' ')}]`)
  const named = (name: string): string => `${spec.kind}=${name}`
  if (request.DeviceIDs.length > 0) return request.DeviceIDs.map(named)
  const plain = [...spec.devices.keys()].filter((name) => name !== 'all')
  if (request.Count === -1) return spec.devices.has('all') ? [named('all')] : plain.map(named)
  if (request.Count > plain.length) throw new EngineError('invalid', `could not select ${request.Count} devices of ${spec.kind}: there are ${plain.length}`)
  return plain.slice(0, request.Count).map(named)
}

/** The devices that a container asks for, by their full names. */
function requestedDevices(requests: readonly DeviceRequest[], specs: readonly CdiSpec[]): readonly string[] {
  return requests.flatMap((request) => {
    if (request.Driver === 'cdi') return request.DeviceIDs
    if (request.Capabilities.some((all) => all.includes('gpu'))) return gpuNames(request, specs)
    throw new EngineError('invalid', `could not select device driver "${request.Driver}" with capabilities: [${request.Capabilities.map((all) => `[${all.join(' ')}]`).join(' ')}]`)
  })
}

/** What all of them bring: each file's own edits once, then those of its devices. */
function editsFor(names: readonly string[], specs: readonly CdiSpec[]): readonly ContainerEdits[] {
  const used = new Map<CdiSpec, ContainerEdits[]>()
  const missing: string[] = []
  for (const name of names) {
    const at = name.indexOf('=')
    const spec = specs.findLast((one) => one.kind === name.slice(0, at) && one.devices.has(name.slice(at + 1)))
    const edits = spec?.devices.get(name.slice(at + 1))
    if (spec === undefined || edits === undefined) missing.push(name)
    else used.set(spec, [...(used.get(spec) ?? []), edits])
  }
  if (missing.length > 0) throw unresolvable(missing)
  return [...used].flatMap(([spec, edits]) => [spec.edits, ...edits])
}

function nodeOf(node: CdiNode): { readonly device: OciDevice; readonly rule: OciDeviceRule } {
  const { type, major, minor, mode, uid, gid } = hostDevice(node.hostPath)
  return { device: { path: node.path, type, major, minor, fileMode: node.fileMode === undefined ? mode : node.fileMode & 0o777, uid: node.uid ?? uid, gid: node.gid ?? gid }, rule: { allow: true, type, major, minor, access: node.permissions } }
}

const HOOKS: ReadonlySet<string> = new Set<HookName>(['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'])

function withHooks(spec: OciSpec, edits: ContainerEdits): OciSpec['hooks'] {
  const hooks: Record<string, unknown[]> = Object.fromEntries(Object.entries(spec.hooks ?? {}).map(([name, list]) => [name, [...list]]))
  for (const { hookName, path, args, env, timeout } of edits.hooks) {
    if (!HOOKS.has(hookName)) throw new EngineError('invalid', `hookName: expected ${[...HOOKS].join(', ')}, got "${hookName}"`)
    hooks[hookName] = [...(hooks[hookName] ?? []), { path, args, env, timeoutSeconds: timeout }]
  }
  return hooks as OciSpec['hooks']
}

/** Puts edits into a specification. */
function applyEdits(spec: OciSpec, edits: ContainerEdits): OciSpec {
  const nodes = edits.deviceNodes.map(nodeOf)
  const paths = new Set(nodes.map((one) => one.device.path))
  const names = new Set(edits.env.map((entry) => entry.split('=', 1)[0]))
  const { process, linux } = spec
  const hooks = withHooks(spec, edits)
  return {
    ...spec,
    process: { ...process, env: [...process.env.filter((entry) => !names.has(entry.split('=', 1)[0])), ...edits.env], user: { ...process.user, additionalGids: [...new Set([...process.user.additionalGids, ...edits.additionalGids])] } },
    mounts: [...spec.mounts, ...edits.mounts.map((mount) => ({ destination: mount.containerPath, type: mount.type === '' ? 'bind' : mount.type, source: mount.hostPath, options: mount.options.length === 0 ? ['rbind', 'rprivate'] : mount.options }))],
    linux: { ...linux, devices: [...linux.devices.filter((one) => !paths.has(one.path)), ...nodes.map((one) => one.device)], resources: { ...linux.resources, devices: [...linux.resources.devices, ...nodes.map((one) => one.rule)] } },
    ...(hooks && { hooks }),
  }
}

/** A specification with what the requested devices bring: nodes, mounts, environment, hooks. */
export async function withDevices(directories: readonly string[], requests: readonly DeviceRequest[], spec: OciSpec): Promise<OciSpec> {
  if (requests.length === 0) return spec
  const specs = await readCdiSpecs(directories)
  return editsFor(requestedDevices(requests, specs), specs).reduce(applyEdits, spec)
}
