import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync, symlinkSync, unlinkSync } from 'node:fs'
import { type Discarder, EngineError } from '@gantry/std'
import { linkOnce, makeInitPaths } from '../init-layer.ts'
import type { GraphDriver, LayerPlace, RootRecipe } from '../driver.ts'

/** Names of file systems by their magic (`linux/magic.h`). */
const BACKING: Readonly<Record<number, string>> = { 0xef53: 'extfs', 0x58465342: 'xfs', 0x9123683e: 'btrfs', 0x01021994: 'tmpfs' }
const MOUNT_DATA_LIMIT = 4095
/** Marks a layer whose directory has this very name as its lower link. */
const INIT_LINK = 'init'

/** Overlayfs over plain directories (kernel Documentation/filesystems/overlayfs.rst). */
export function overlay2Driver(root: string, trash: Discarder): GraphDriver {
  const home = `${root}/overlay2`
  mkdirSync(`${home}/l`, { recursive: true, mode: 0o710 })
  makeInitLayer(home)
  const lowers = (parents: readonly LayerPlace[]): string => [`l/${INIT_LINK}`, ...parents.map((place) => `l/${place.link}`)].join(':')
  const recipe = (data: string): RootRecipe => {
    if (data.length > MOUNT_DATA_LIMIT) throw new EngineError('invalid', `overlay2: mount options of ${data.length} bytes, more than ${MOUNT_DATA_LIMIT}: too many layers`)
    return { type: 'overlay', source: 'overlay', data, directory: home }
  }
  return {
    name: 'overlay2',
    stacked: false,
    status: () => [['Backing Filesystem', BACKING[statfsSync(home).type] ?? 'unknown'], ['Supports d_type', 'true'], ['Using metacopy', 'false'], ['Native Overlay Diff', 'true'], ['userxattr', 'false']],
    async create(place) {
      mkdirSync(`${home}/${place.cacheId}/diff`, { recursive: true, mode: 0o755 })
      symlinkSync(`../${place.cacheId}/diff`, `${home}/l/${place.link}`)
      return { path: `${home}/${place.cacheId}/diff`, stacked: false }
    },
    async createContainer(id) {
      mkdirSync(`${home}/${id}`, { mode: 0o710 })
      mkdirSync(`${home}/${id}/diff`, { mode: 0o755 })
      mkdirSync(`${home}/${id}/work`, { mode: 0o700 })
    },
    recipe: (id, parents, options) => recipe(`lowerdir=${lowers(parents)},upperdir=${id}/diff,workdir=${id}/work${options.volatile ? ',volatile' : ''}`),
    mountAgain: (id) => rmSync(`${home}/${id}/work/work/incompat`, { recursive: true, force: true }),
    imageRecipe: (parents) => recipe(`lowerdir=${lowers(parents)}`),
    directories: (id, parents) => [...(id === undefined ? [] : [`${home}/${id}/diff`]), `${home}/l/${INIT_LINK}`, ...parents.map((place) => `${home}/${place.cacheId}/diff`)],
    changes: (id) => `${home}/${id}/diff`,
    layerDirectory: (place) => `${home}/${place.cacheId}/diff`,
    remove(id) {
      for (const link of linksTo(home, id)) unlinkSync(`${home}/l/${link}`)
      trash.discard(`${home}/${id}`)
    },
    exists: (id) => existsSync(`${home}/${id}`),
    list: () => readdirSync(home).filter((name) => name !== 'l' && name !== 'init'),
    describe: (id, parents) => ({
      LowerDir: [`${home}/init/diff`, ...parents.map((place) => `${home}/${place.cacheId}/diff`)].join(':'),
      MergedDir: `${home}/${id}/merged`,
      UpperDir: `${home}/${id}/diff`,
      WorkDir: `${home}/${id}/work`,
    }),
  }
}

/** Layers have one link each, named in their record; containers have none. */
function linksTo(home: string, id: string): readonly string[] {
  return id.length === 26 && existsSync(`${home}/l/${id}`) ? [id] : []
}

/** The lowest layer but one of every container, shared by all. */
function makeInitLayer(home: string): void {
  mkdirSync(`${home}/init/diff`, { recursive: true, mode: 0o755 })
  makeInitPaths(`${home}/init/diff`)
  linkOnce('../init/diff', `${home}/l/${INIT_LINK}`)
}
