import type { OciHook, OciProcess, OciSpec } from './oci.ts'

/** The lowest that all of them take; what came later is read by those that know it. */
const OCI_VERSION = '1.0.2'
/** Of ours: mounts of layers that keep the ids of the image. Other runtimes know it by the maps alone. */
const OWN_OPTIONS: ReadonlySet<string> = new Set(['idmap', 'ridmap'])

function hookOf(hook: OciHook): unknown {
  return { path: hook.path, args: hook.args, env: hook.env, ...(hook.timeoutSeconds !== undefined && { timeout: hook.timeoutSeconds }) }
}

/** `process`, as `config.json` and an exec's file have it. */
export function encodeProcess(process: OciProcess): unknown {
  const { user, ...rest } = process
  return { ...rest, user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids, ...(user.umask !== undefined && { umask: user.umask }) } }
}

/** Writes a specification as the `config.json` of a bundle (runtime-spec, config.md), for another runtime. */
export function encodeConfig(spec: OciSpec, rootPath: string, cgroupsPath: string): unknown {
  const { process, root, mounts, linux, hooks, ...rest } = spec
  return {
    ociVersion: OCI_VERSION,
    ...rest,
    process: encodeProcess(process),
    root: { path: rootPath, readonly: root.readonly },
    mounts: mounts.map(({ idMappings, ...mount }) => ({ ...mount, options: mount.options.filter((option) => !OWN_OPTIONS.has(option)), ...(idMappings && { uidMappings: idMappings.uids, gidMappings: idMappings.gids }) })),
    linux: { ...linux, cgroupsPath },
    ...(hooks && { hooks: Object.fromEntries(Object.entries(hooks).map(([name, list]) => [name, list.map(hookOf)])) }),
  }
}
