import { DEFAULT_DEVICES, type OciDeviceRule, type OciIdMapping, type OciSpec } from '@gantry/libcontainer'
import { AT, CLONE, O, startLauncher, syscallProgram } from '@gantry/linux'

/** A page: what the kernel takes of a map at once. */
const MAP_BYTES = 4096

const allow = (type: 'c' | 'b', access: string, major?: number, minor?: number): OciDeviceRule => ({ allow: true, type, access, ...(major !== undefined && { major }), ...(minor !== undefined && { minor }) })

/** What the default devices and terminals need, whatever the configuration denies. */
const RULES: readonly OciDeviceRule[] = [
  allow('c', 'm'), allow('b', 'm'), allow('c', 'rwm', 1, 3), allow('c', 'rwm', 1, 5), allow('c', 'rwm', 1, 7), allow('c', 'rwm', 1, 8), allow('c', 'rwm', 1, 9), allow('c', 'rwm', 5, 0), allow('c', 'rwm', 5, 2), allow('c', 'rwm', 136),
]

/** Made by the runtime itself: the container's own terminal, links into its own devpts and procfs. */
const RESERVED: ReadonlySet<string> = new Set(['/dev/console', '/dev/core', '/dev/fd', '/dev/ptmx', '/dev/stderr', '/dev/stdin', '/dev/stdout'])

/** Adds what a runtime supplies without being asked. */
export function withDefaults(spec: OciSpec): OciSpec {
  const { linux } = spec
  const own = new Set(linux.devices.map((one) => one.path))
  const devices = [...DEFAULT_DEVICES.filter((one) => !own.has(one.path)), ...linux.devices.filter((one) => !RESERVED.has(one.path))]
  const rules = linux.resources.devices.length === 0 ? [{ allow: false, type: 'a', access: 'rwm' } as const] : linux.resources.devices
  return { ...spec, linux: { ...linux, devices, resources: { ...linux.resources, devices: [...rules, ...RULES] } } }
}

function parseMap(text: string): readonly OciIdMapping[] {
  return text.split('\n').flatMap((line) => {
    const [containerID, hostID, size] = line.trim().split(/\s+/).map(Number)
    return containerID === undefined || hostID === undefined || size === undefined ? [] : [{ containerID, hostID, size }]
  })
}

/** The ids of a user namespace that is there already: read from inside it, for its path may lead to no process (user_namespaces(7)). */
async function mapsAt(path: string, helper: string): Promise<readonly [readonly OciIdMapping[], readonly OciIdMapping[]]> {
  const launcher = await startLauncher(helper)
  try {
    const { output } = await launcher.fork(syscallProgram((p) => {
      const users = p.register()
      p.call(`open user namespace ${path}`, 'openat', [AT.FDCWD, p.text(path), O.RDONLY | O.CLOEXEC, 0], { to: users })
      p.call('join the user namespace', 'setns', [users, CLONE.NEWUSER])
      for (const file of ['uid_map', 'gid_map']) {
        const text = p.room(MAP_BYTES)
        p.op(`read ${file}`, 'readFile', [AT.FDCWD, p.text(`/proc/self/${file}`), text, MAP_BYTES - 1])
        p.op('answer with it', 'out', [text, MAP_BYTES])
      }
    }))
    const text = (from: number): string => output.toString('utf8', from, from + MAP_BYTES).replace(/\0.*$/s, '')
    return [parseMap(text(0)), parseMap(text(MAP_BYTES))]
  } finally {
    await launcher[Symbol.asyncDispose]()
  }
}

/** A user namespace by its path brings its own maps. */
export async function withKnownMaps(spec: OciSpec, helper: string): Promise<OciSpec> {
  const users = spec.linux.namespaces.find((one) => one.type === 'user')
  if (users?.path === undefined) return spec
  const [uidMappings, gidMappings] = await mapsAt(users.path, helper)
  return { ...spec, linux: { ...spec.linux, uidMappings, gidMappings } }
}
