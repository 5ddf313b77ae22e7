import { existsSync, mkdirSync, readdirSync, statfsSync, symlinkSync, unlinkSync } from 'node:fs'
import type { Trees } from '@gantry/linux'
import { type Discarder, EngineError, exists } from '@gantry/std'
import { putComposition } from '../erofs/compose.ts'
import { erofsView } from '../erofs/reader.ts'
import type { Composition, GraphDriver, LayerPlace, RootRecipe } from '../driver.ts'
import { directoryView, type LayerView } from '../layered-fs.ts'
import { BACKING, EMPTY_LINK, INIT_LINK, makeInitLayer, makeUpper, MOUNT_DATA_LIMIT } from './overlay-init.ts'

/** Digits of a layer's id in mount options, which the kernel limits to a page. */
const SHORT = 12
const LAYER_ID = 26
/** Where a container's own mount namespace has the image, before overlayfs is put over it. */
const LOWER = 'm'

/**
 * EROFS over the layers' own archives: a layer is its tar file as it came, an image is a small file of metadata that names places in
 * them (kernel Documentation/filesystems/erofs.rst; files as devices since Linux 6.12). Overlayfs makes it writable for a container.
 */
export function erofsDriver(root: string, trash: Discarder, trees: Trees): GraphDriver {
  const home = `${root}/erofs`
  mkdirSync(`${home}/${LOWER}`, { recursive: true, mode: 0o710 })
  mkdirSync(`${home}/l`, { recursive: true, mode: 0o710 })
  makeInitLayer(home)
  const short = (place: LayerPlace): string => place.cacheId.slice(0, SHORT)
  const tarOf = (place: LayerPlace): string => `${home}/${place.cacheId}/tar`
  const metaOf = (place: LayerPlace): string => `${home}/${place.cacheId}/meta`
  const views = new Map<string, LayerView>()
  const composition = (parents: readonly LayerPlace[]): Composition | undefined => {
    const [top] = parents
    return top === undefined || exists(metaOf(top)) ? undefined : { indexes: parents.map((place) => `${home}/${place.cacheId}/index`), to: metaOf(top) }
  }
  const compose = (parents: readonly LayerPlace[]): void => {
    const missing = composition(parents)
    if (missing !== undefined) putComposition(missing)
  }
  const imageView = (parents: readonly LayerPlace[]): readonly LayerView[] => {
    const [top] = parents
    if (top === undefined) return []
    let view = views.get(top.cacheId)
    if (view === undefined) {
      compose(parents)
      view = erofsView(metaOf(top), [...parents].reverse().map(tarOf))
      views.clear() // one image at a time: what is looked up comes in bursts
      views.set(top.cacheId, view)
    }
    return [view]
  }
  /** The image as a mount of its own, below the overlay. */
  const lower = (parents: readonly LayerPlace[]): RootRecipe['lower'] => {
    const [top] = parents
    if (top === undefined) return undefined
    compose(parents)
    const data = [...parents].reverse().map((place) => `device=l/${short(place)}`).join(',')
    if (data.length > MOUNT_DATA_LIMIT) throw new EngineError('invalid', `erofs: mount options of ${data.length} bytes, more than ${MOUNT_DATA_LIMIT}: too many layers`)
    return { type: 'erofs', source: `${top.cacheId}/meta`, data, target: LOWER }
  }
  // The image and the container's own files lie on two file systems; xino shows them as one, as programs expect of a root (`st_dev`).
  const recipe = (parents: readonly LayerPlace[], upper: string, bare: boolean): RootRecipe => {
    const below = lower(parents)
    const lowers = [...(bare ? [] : [`l/${INIT_LINK}`]), ...(below === undefined ? [] : [LOWER]), ...(bare ? [`l/${EMPTY_LINK}`] : [])]
    return { type: 'overlay', source: 'overlay', data: `lowerdir=${lowers.join(':')}${upper}`, directory: home, ...(below !== undefined && { lower: below }) }
  }
  return {
    name: 'erofs',
    stacked: false,
    archives: true,
    status: () => [['Backing Filesystem', BACKING[statfsSync(home).type] ?? 'unknown'], ['Layers', 'archives, mounted as they are'], ['Native Overlay Diff', 'true']],
    async create(place) {
      mkdirSync(`${home}/${place.cacheId}`, { recursive: true, mode: 0o700 })
      symlinkSync(`../${place.cacheId}/tar`, `${home}/l/${short(place)}`)
      return { kind: 'tar', path: tarOf(place), index: `${home}/${place.cacheId}/index` }
    },
    composition,
    async createContainer(id, parents, limit) {
      compose(parents)
      await makeUpper(trees, `${home}/${id}`, limit)
    },
    recipe: (id, parents, options) => recipe(parents, `,upperdir=${id}/diff,workdir=${id}/work,xino=on${options.volatile ? ',volatile' : ''}`, options.bare === true),
    mountAgain: (id) => trash.discard(`${home}/${id}/work/work/incompat`),
    imageRecipe: (parents) => recipe(parents, parents.length === 0 ? `:l/${EMPTY_LINK}` : ',xino=on', true),
    views: (id, parents) => [...(id === undefined ? [] : [directoryView(`${home}/${id}/diff`), directoryView(`${home}/l/${INIT_LINK}`)]), ...imageView(parents)],
    changes: (id) => `${home}/${id}/diff`,
    source: (place, _, tarBytes) => ({ kind: 'tar', path: tarOf(place), bytes: tarBytes }),
    remove(id) {
      views.delete(id)
      if (id.length === LAYER_ID && existsSync(`${home}/l/${id.slice(0, SHORT)}`)) unlinkSync(`${home}/l/${id.slice(0, SHORT)}`)
      trash.discard(`${home}/${id}`)
    },
    exists: (id) => existsSync(`${home}/${id}`),
    pathOf: (id) => `${home}/${id}`,
    list: () => readdirSync(home).filter((name) => name !== 'l' && name !== 'init' && name !== LOWER),
    describeImage: (parents) => ({ Metadata: parents[0] === undefined ? '' : metaOf(parents[0]), LowerDir: parents.map(tarOf).join(':') }),
    describe: (id, parents) => ({
      LowerDir: [`${home}/init/diff`, ...(parents[0] === undefined ? [] : [metaOf(parents[0])])].join(':'),
      MergedDir: `${home}/${id}/merged`,
      UpperDir: `${home}/${id}/diff`,
      WorkDir: `${home}/${id}/work`,
    }),
  }
}

