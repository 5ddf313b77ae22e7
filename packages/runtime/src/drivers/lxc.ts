import type { ExecDriver } from '../execdriver.ts'
import type { Host } from '../host.ts'
import { nativeDriver } from './native.ts'

/** The historical driver: LXC builds the inside from a generated configuration; streams, log, network and exit status stay ours. `lxcStart` is the path of its program. */
export function lxcDriver(host: Pick<Host, 'factoryFor' | 'helper'>, lxcStart: string): ExecDriver {
  return nativeDriver(host.factoryFor({ name: 'lxc', lxcStart, helper: host.helper }), 'lxc')
}
