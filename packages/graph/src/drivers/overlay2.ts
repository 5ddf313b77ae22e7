import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync, symlinkSync, unlinkSync } from 'node:fs'
import type { Trees } from '@gantry/linux'
import { type Discarder, EngineError } from '@gantry/std'
import { directoryView } from '../layered-fs.ts'
import { BACKING, EMPTY_LINK, INIT_LINK, makeInitLayer, makeUpper, MOUNT_DATA_LIMIT } from './overlay-init.ts'
import type { GraphDriver, LayerPlace, RootRecipe } from '../driver.ts'

/** Overlayfs over plain directories (kernel Documentation/filesystems/overlayfs.rst). */
export function overlay2Driver(root: string, trash: Discarder, trees: Trees): GraphDriver {
  const home = `${root}/overlay2`
  mkdirSync(`${home}/l`, { recursive: true, mode: 0o710 })
  makeInitLayer(home)
  const lowers = (parents: readonly LayerPlace[], bare: boolean): string => [...(bare ? [] : [`l/${INIT_LINK}`]), ...parents.map((place) => `l/${place.link}`), ...(bare ? [`l/${EMPTY_LINK}`] : [])].join(':')
  const recipe = (data: string): RootRecipe => {
    if (data.length > MOUNT_DATA_LIMIT) throw new EngineError('invalid', `overlay2: mount options of ${data.length} bytes, more than ${MOUNT_DATA_LIMIT}: too many layers`)
    return { type: 'overlay', source: 'overlay', data, directory: home }
  }
  return {
    name: 'overlay2',
    stacked: false,
    archives: false,
    status: () => [['Backing Filesystem', BACKING[statfsSync(home).type] ?? 'unknown'], ['Supports d_type', 'true'], ['Using metacopy', 'false'], ['Native Overlay Diff', 'true'], ['userxattr', 'false']],
    async create(place, _, skeleton) {
      mkdirSync(`${home}/${place.cacheId}/diff`, { recursive: true, mode: 0o755 })
      symlinkSync(`../${place.cacheId}/diff`, `${home}/l/${place.link}`)
      return { kind: 'directory', path: `${home}/${place.cacheId}/diff`, skeleton }
    },
    createContainer: (id, _, limit) => makeUpper(trees, `${home}/${id}`, limit),
    recipe: (id, parents, options) => recipe(`lowerdir=${lowers(parents, options.bare === true)},upperdir=${id}/diff,workdir=${id}/work${options.volatile ? ',volatile' : ''}`),
    mountAgain: (id) => rmSync(`${home}/${id}/work/work/incompat`, { recursive: true, force: true }),
    imageRecipe: (parents) => recipe(`lowerdir=${lowers(parents, true)}${parents.length === 0 ? `:l/${EMPTY_LINK}` : ''}`),
    views: (id, parents) => [...(id === undefined ? [] : [`${home}/${id}/diff`, `${home}/l/${INIT_LINK}`]), ...parents.map((place) => `${home}/${place.cacheId}/diff`)].map(directoryView),
    changes: (id) => `${home}/${id}/diff`,
    source: (place, skeleton) => ({ kind: 'skeleton', skeleton, directory: `${home}/${place.cacheId}/diff` }),
    remove(id) {
      for (const link of linksTo(home, id)) unlinkSync(`${home}/l/${link}`)
      trash.discard(`${home}/${id}`)
    },
    exists: (id) => existsSync(`${home}/${id}`),
    pathOf: (id) => `${home}/${id}`,
    list: () => readdirSync(home).filter((name) => name !== 'l' && name !== 'init'),
    describeImage([top, ...below]) {
      const own = `${home}/${top?.cacheId ?? ''}`
      return { ...(below.length > 0 && { LowerDir: below.map((place) => `${home}/${place.cacheId}/diff`).join(':') }), MergedDir: `${own}/merged`, UpperDir: `${own}/diff`, WorkDir: `${own}/work` }
    },
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
