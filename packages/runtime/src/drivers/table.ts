import { EngineError } from '@gantry/std'
import type { ExecDriver } from '../execdriver.ts'

/** One driver that stands for several: each container goes to the one that it was made with. `runtimeOf` tells which; the first of the list is for the others. */
export function byRuntime(drivers: readonly [ExecDriver, ...ExecDriver[]], runtimeOf: (id: string) => string | undefined): ExecDriver {
  const named = (name: string): ExecDriver => {
    const found = name === '' ? drivers[0] : drivers.find((one) => one.name === name)
    if (found === undefined) throw new EngineError('invalid', `unknown or invalid runtime name: ${name}`)
    return found
  }
  const of = (id: string): ExecDriver => named(runtimeOf(id) ?? '')
  return {
    name: drivers[0].name,
    start: async (bundle, signal) => named(bundle.runtime).start(bundle, signal),
    explain: async (bundle) => named(bundle.runtime).explain(bundle),
    adopt: async (id, cgroupsPath) => of(id).adopt(id, cgroupsPath),
    forget: (id) => drivers[0].forget(id),
    checkpoint: async (id, options) => of(id).checkpoint(id, options),
    pause: async (id, paused) => of(id).pause(id, paused),
    update: async (id, resources) => of(id).update(id, resources),
    processes: async (id) => of(id).processes(id),
    stats: async (id) => of(id).stats(id),
  }
}
