import { mkdirSync, writeFileSync } from 'node:fs'
import { AT, MS, O, type ProgramBuilder, type Register } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import type { OciMount, OciSpec, OciTree } from '../spec/oci.ts'
import { kindOf, openBind } from './mounts.ts'
import { mountLower } from './lower.ts'
import type { StartPlan } from './plan.ts'

const MNT_DETACH = 2

/**
 * A root file system as a detached mount, read-only. It is put together on `mountPoint` and taken from there again, in a mount namespace
 * where nobody else looks; the working directory changes. `lower`: what mounts what it stands on.
 */
export function openTreeMount(p: ProgramBuilder, mount: OciMount, mountPoint: string, users?: Register, lower: (tree: OciTree) => void = (tree) => mountLower(p, tree)): Register {
  const { tree, ...bind } = mount
  if (tree === undefined) throw new EngineError('internal', `mount on ${mount.destination}: no tree`)
  if (tree.type === 'bind') return openBind(p, { ...bind, source: tree.source }, users)
  p.call('go to the layers', 'chdir', [p.text(tree.directory)])
  lower(tree)
  p.call(`mount ${mount.source}`, 'mount', [p.text(tree.source), p.text(mountPoint), p.text('overlay'), mount.options.includes('ro') ? MS.RDONLY : 0, p.text(tree.data)])
  const fd = openBind(p, { ...bind, source: mountPoint })
  p.call('take it from its place', 'umount2', [p.text(mountPoint), MNT_DETACH])
  return fd
}

/** Binds that only we know how to make. */
const isOwn = (mount: OciMount): boolean => mount.tree !== undefined || mount.below !== undefined || mount.topReadOnly === true

const placeOf = (bundle: string, index: number): string => `${bundle}/m${index}`

/** The same for another runtime: it binds what lies at places of the bundle, which are made here. */
export function placedSpec(spec: OciSpec, bundle: string): OciSpec {
  const mounts = spec.mounts.map((mount, index) => {
    if (!isOwn(mount)) return mount
    const place = placeOf(bundle, index)
    if (kindOf(mount) === 'directory') mkdirSync(place, { mode: 0o700 })
    else writeFileSync(place, '', { mode: 0o600 })
    return { destination: mount.destination, type: 'bind', source: place, options: mount.options.filter((option) => mount.topReadOnly !== true || option !== 'ro') }
  })
  return { ...spec, mounts }
}

/** Puts them there, in the shim's mount namespace. */
export function placeMounts(p: ProgramBuilder, plan: StartPlan, bundle: string): void {
  for (const [index, mount] of plan.spec.mounts.entries()) {
    if (!isOwn(mount)) continue
    p.scoped(() => {
      const place = placeOf(bundle, index)
      const [fd, target] = [mount.tree === undefined ? openBind(p, mount) : openTreeMount(p, mount, bundle), p.register()]
      p.call(`open ${place}`, 'openat', [AT.FDCWD, p.text(place), O.PATH | O.CLOEXEC, 0], { to: target })
      p.op(`mount ${mount.source} there`, 'attach', [fd, target])
      for (const one of [fd, target]) p.call('close it', 'close', [one])
    })
  }
}
