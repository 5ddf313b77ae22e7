import { resolve } from 'node:path'
import type { OciSpec } from '@gantry/libcontainer'
import { EngineError } from '@gantry/std'
import type { Bundle, ExecDriver } from '../execdriver.ts'
import type { Containers } from '../host.ts'
import { nativeDriver } from './native.ts'
import type { RuntimeSetting } from './settings.ts'

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
export function externalDriver(host: Pick<Containers, 'factoryFor' | 'helper'>, setting: RuntimeSetting, stateRoot: string): ExecDriver {
  const driver = nativeDriver(host.factoryFor({ ...setting, stateRoot: `${stateRoot}/${setting.name}` }), setting.name)
  const settle = (bundle: Bundle): Bundle => {
    if (bundle.spec.linux.namespaces.some((one) => one.type === 'user')) throw new EngineError('unsupported', `runtime ${setting.name}: containers with users of their own need the runtime gantry`)
    return bundle.init ? { ...bundle, init: false, spec: withInit(bundle.spec, host.helper) } : bundle
  }
  return { ...driver, start: async (bundle, signal) => driver.start(settle(bundle), signal), explain: async (bundle) => driver.explain(settle(bundle)) }
}
