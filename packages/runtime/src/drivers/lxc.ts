import type { ExecDriver } from '../execdriver.ts'
import type { Containers } from '../host.ts'
import { nativeDriver } from './native.ts'

/** The historical driver: LXC builds the inside from a generated configuration; streams, log, network and exit status stay ours. `lxcStart` is the path of its program. */
export function lxcDriver(host: Pick<Containers, 'factoryFor' | 'helper'>, lxcStart: string): ExecDriver {
  return nativeDriver(host.factoryFor({ name: 'lxc', lxcStart, helper: host.helper }), 'lxc')
}
