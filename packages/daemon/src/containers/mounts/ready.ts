import { lstatSync, readlinkSync, type Stats } from 'node:fs'
import { posix } from 'node:path'
import type { Graph } from '@gantry/graph'
import type { OciMount } from '@gantry/runtime'
import { EngineError, hasCode } from '@gantry/std'
import type { SettledMount } from '../record.ts'

/** A mount with what a start needs to know of its source. */
export interface ReadyMount extends SettledMount {
  readonly below?: NonNullable<OciMount['below']>
  readonly tree?: NonNullable<OciMount['tree']>
}

const LINKS_FOLLOWED = 40

/**
 * What is at a path below a directory, with links read as if that were the root. Others may change what is there at any time: what is
 * mounted is found again by the kernel (`openat2`, RESOLVE_IN_ROOT), this is for errors and for the kind of what is there.
 */
export function findBelow(top: string, path: string): Stats | undefined {
  try {
    return lstatSync(placeBelow(top, path))
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}

/** The path of it on the host, at this moment. */
export function placeBelow(top: string, path: string): string {
  let parts = posix.normalize(`/${path}`).split('/').filter((part) => part !== '')
  let here = ''
  for (let followed = 0; ; ) {
    const [part, ...rest] = parts
    if (part === undefined) return `${top}${here}`
    const next = posix.join(here === '' ? '/' : here, part)
    if (!lstatSync(`${top}${next}`).isSymbolicLink()) {
      here = next
      parts = rest
      continue
    }
    if (++followed > LINKS_FOLLOWED) throw new EngineError('invalid', `cannot access path ${top}/${path}: too many links`)
    parts = [...posix.resolve(here === '' ? '/' : here, readlinkSync(`${top}${next}`)).split('/').filter((one) => one !== ''), ...rest]
    here = ''
  }
}

const notThere = (path: string): EngineError => new EngineError('invalid', `cannot access path ${path}: lstat ${path}: no such file or directory`)

function belowVolume(mount: SettledMount): Pick<ReadyMount, 'below'> {
  const found = findBelow(mount.source, mount.subpath)
  if (found === undefined) throw notThere(`${mount.source}/${mount.subpath}`)
  return { below: { path: mount.subpath, kind: found.isDirectory() ? 'directory' : 'file' } }
}

function fromImage(graph: Graph, mount: SettledMount): ReadyMount {
  const image = mount.imageId === undefined ? undefined : graph.images.get(mount.imageId)
  if (image === undefined) throw new EngineError('not-found', `No such image: ${mount.name}`)
  const tree = mount.above === undefined ? graph.driver.imageRecipe(graph.places(image)) : graph.driver.recipe(mount.above, graph.places(image), { volatile: false, bare: true })
  const ready = { ...mount, tree }
  if (mount.subpath === '') return ready
  const found = graph.look(undefined, image).find(`/${mount.subpath}`)
  if (found === undefined) throw notThere(`${mount.name}/${mount.subpath}`)
  return { ...ready, below: { path: mount.subpath, kind: found.kind === 'directory' ? 'directory' : 'file' } }
}

/** Looks at the sources of mounts, right before a start. */
export function readyMounts(graph: Graph, mounts: readonly SettledMount[]): readonly ReadyMount[] {
  return mounts.map((mount) => (mount.type === 'image' ? fromImage(graph, mount) : mount.subpath === '' || mount.type !== 'volume' ? mount : { ...mount, ...belowVolume(mount) }))
}
