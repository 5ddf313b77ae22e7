import { mkdirSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { readText } from '@gantry/std'
import type { CgroupManager } from './cgroups/manager.ts'
import { type ExternalSide, RuntimeFailure } from './external-side.ts'
import { lxcProgram } from './init/lxc.ts'
import { placedSpec } from './init/trees.ts'
import { lxcConfig, lxcSeccomp } from './spec/lxc-config.ts'
import type { OciSpec } from './spec/oci.ts'

/** LXC as the builder of containers' insides. */
export interface LxcRuntime {
  readonly name: 'lxc'
  /** The program `lxc-start`. */
  readonly lxcStart: string
  /** The helper: bound into each container, it waits at the gate. */
  readonly helper: string
}

const FIRST = '/sbin/docker-init'
const GATE = '/.gantry-gate'
const READY = '/.gantry-ready'

/** The first error in a log of LXC's: `lxc-start ID TIME ERROR place - file:function:line - words`. */
export function lxcError(log: string): string | undefined {
  return /^.* ERROR .* - .*?:\d+ - (.*)$/m.exec(log)?.[1]
}

/** What a factory does otherwise with LXC; whatever is not named here works on every container. */
export function lxcSide(runtime: LxcRuntime, ports: { readonly mountPoint: string; readonly cgroups: CgroupManager; directory(id: string): string }): ExternalSide {
  const { cgroups, directory } = ports
  const monitorPath = (id: string): string => `${cgroups.placeOf(id)}-lxc`
  const withGate = (id: string, spec: OciSpec): OciSpec => ({
    ...spec,
    mounts: [
      ...spec.mounts,
      { destination: FIRST, type: 'bind', source: resolve(runtime.helper), options: ['bind', 'ro'] },
      { destination: READY, type: 'bind', source: `${directory(id)}/ready`, options: ['bind'] },
      { destination: GATE, type: 'bind', source: `${directory(id)}/gate`, options: ['bind', 'ro'] },
    ],
  })
  return {
    program: (id, plan) => lxcProgram({
      ...plan, id, bundle: directory(id), lxcStart: runtime.lxcStart, init: false, command: [FIRST, 'gate', GATE, READY, ...(plan.init ? [FIRST, 'init'] : []), ...plan.spec.process.args],
      monitorCgroups: plan.cgroup.directories.map((one) => one.path.replace(cgroups.placeOf(id), monitorPath(id))),
    }),
    writeConfig(id, spec) {
      const seccompPath = `${directory(id)}/seccomp`
      mkdirSync(`${directory(id)}/lxc`, { mode: 0o700 })
      if (spec.linux.seccomp !== undefined) writeFileSync(seccompPath, lxcSeccomp(spec.linux.seccomp), { mode: 0o600 })
      writeFileSync(`${directory(id)}/lxc.conf`, lxcConfig({ spec: withGate(id, placedSpec(spec, directory(id))), rootPath: ports.mountPoint, cgroupsPath: cgroups.placeOf(id), monitorCgroupsPath: monitorPath(id), cgroup: cgroups.plan(id, spec.linux.resources), seccompPath }), { mode: 0o600 })
    },
    forget: async () => undefined,
    explain(id, error) {
      const words = lxcError(readText(`${directory(id)}/runtime.log`) ?? '')
      return words === undefined ? undefined : new RuntimeFailure(words, 128, error)
    },
  }
}
