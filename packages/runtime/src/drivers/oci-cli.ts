import { resolve } from 'node:path'
import type { OciSpec } from '@gantry/libcontainer'
import { EngineError } from '@gantry/std'
import type { Bundle, ExecDriver } from '../execdriver.ts'
import type { Host } from '../host.ts'
import { nativeDriver } from './native.ts'

/** An OCI runtime as the configuration names it. */
export interface RuntimeSetting {
  readonly name: string
  /** Of its program. */
  readonly path: string
  readonly args: readonly string[]
}

const INIT = '/sbin/docker-init'

/** The house's reaper as the container's pid 1: elsewhere it is a step of the start, here a program that is bound into it. */
function withInit(spec: OciSpec, helper: string): OciSpec {
  return {
    ...spec,
    process: { ...spec.process, args: [INIT, 'init', ...spec.process.args] },
    mounts: [...spec.mounts, { destination: INIT, type: 'bind', source: resolve(helper), options: ['bind', 'ro', 'rprivate'] }],
  }
}

/** A driver over another OCI runtime (runc, crun, …): root file system, network, streams, log and exit status stay ours. */
export function externalDriver(host: Pick<Host, 'factoryFor' | 'helper'>, setting: RuntimeSetting, stateRoot: string): ExecDriver {
  const driver = nativeDriver(host.factoryFor({ ...setting, stateRoot: `${stateRoot}/${setting.name}` }), setting.name)
  const settle = (bundle: Bundle): Bundle => {
    if (bundle.spec.linux.namespaces.some((one) => one.type === 'user')) throw new EngineError('unsupported', `runtime ${setting.name}: containers with users of their own need the runtime gantry`)
    return bundle.init ? { ...bundle, init: false, spec: withInit(bundle.spec, host.helper) } : bundle
  }
  return { ...driver, start: (bundle) => driver.start(settle(bundle)), explain: (bundle) => driver.explain(settle(bundle)) }
}
