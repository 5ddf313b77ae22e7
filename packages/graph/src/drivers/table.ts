import { existsSync } from 'node:fs'
import type { Trees } from '@gantry/linux'
import { type Discarder, EngineError, readText } from '@gantry/std'
import type { GraphDriver } from '../driver.ts'
import { erofsDriver } from './erofs.ts'
import { overlay2Driver } from './overlay2.ts'
import { btrfsDriver, vfsDriver } from './whole-trees.ts'

type MakeDriver = (root: string, trash: Discarder, trees: Trees) => GraphDriver

/** Drivers in the order in which they are tried. */
const DRIVERS: Readonly<Record<string, MakeDriver>> = { erofs: erofsDriver, overlay2: overlay2Driver, btrfs: btrfsDriver, vfs: vfsDriver }

/** Drivers of the past: each says why it cannot run. */
const GONE: Readonly<Record<string, () => string>> = {
  devicemapper: () => (existsSync('/sys/class/misc/device-mapper') ? 'Docker gave this driver up in version 25, and Gantry never had it: use erofs or overlay2' : 'this kernel has no device-mapper'),
  aufs: () => (/\baufs\b/.test(readText('/proc/filesystems') ?? '') ? 'Docker gave this driver up in version 24, and Gantry never had it: use erofs or overlay2' : 'this kernel has no aufs'),
}

/** Names of the drivers, the best first. */
export const GRAPH_DRIVERS: readonly string[] = Object.keys(DRIVERS)

/** Makes a driver by its name. */
export function makeDriver(name: string, root: string, trash: Discarder, trees: Trees): GraphDriver {
  const gone = GONE[name]
  if (gone !== undefined) throw new EngineError('unsupported', gone())
  const make = DRIVERS[name]
  if (make === undefined) throw new EngineError('invalid', `unknown storage driver "${name}": expected one of ${GRAPH_DRIVERS.join(', ')}`)
  return make(root, trash, trees)
}
