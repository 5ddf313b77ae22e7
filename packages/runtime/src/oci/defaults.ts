import { lstatSync, readdirSync } from 'node:fs'
import { EngineError } from '@gantry/std'
import { DEFAULT_DEVICES, type OciDeviceRule, type OciSpec } from '@gantry/libcontainer'

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

const COPY_UP = 'tmpcopyup'

/** `tmpcopyup` asks for what the root has at a mount point; where it has nothing there is nothing to copy, and elsewhere this runtime cannot. */
export function withoutCopyUp(spec: OciSpec, rootfs: string): OciSpec {
  const mounts = spec.mounts.map((mount) => {
    if (!mount.options.includes(COPY_UP)) return mount
    const there = lstatSync(`${rootfs}${mount.destination}`, { throwIfNoEntry: false })
    if (there !== undefined && (!there.isDirectory() || readdirSync(`${rootfs}${mount.destination}`).length > 0)) throw new EngineError('unsupported', `mount on ${mount.destination}: ${COPY_UP} of a directory that is not empty is not supported by this runtime`)
    return { ...mount, options: mount.options.filter((option) => option !== COPY_UP) }
  })
  return { ...spec, mounts }
}
