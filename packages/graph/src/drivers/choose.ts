import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { readTreeEntry, type Trees } from '@gantry/linux'
import { type Discarder, EngineError, isEngineError, logger, messageOf, newId } from '@gantry/std'
import { layerWriter } from '../apply/layer-writer.ts'
import { BLOCK, encodeHeader, padding, type TarEntry } from '../tar-header.ts'
import { GRAPH_DRIVERS, makeDriver } from './table.ts'

const log = logger('graph.drivers')

/** What choosing needs. */
export interface ChooseOptions {
  readonly root: string
  readonly trees: Trees
  /** Named by a person; empty: the best that works. */
  readonly asked: string
  /** An empty directory to mount on, in a mount namespace of its own. */
  readonly scratch: string
}

const NAME = 'probe'
const CONTENT = 'it works'
const LAYER_ID = /^[0-9a-f]{26}$/
/** Where a driver keeps layers, below the root. */
const HOMES: Readonly<Record<string, string>> = { vfs: 'vfs/dir', btrfs: 'btrfs/subvolumes' }

function archive(): readonly Buffer[] {
  const content = Buffer.from(CONTENT)
  const entry: TarEntry = { path: NAME, type: 'file', mode: 0o644, uid: 0, gid: 0, size: content.length, mtimeSeconds: 0, mtimeNanos: 0, link: '', major: 0, minor: 0, xattrs: new Map() }
  return [encodeHeader(entry), content, padding(content.length), Buffer.alloc(BLOCK * 2)]
}

/** Makes a layer of one file with the driver, mounts it, and looks for the file. Throws with the reason when that does not work. */
async function probe(name: string, { root, trees, scratch }: ChooseOptions): Promise<void> {
  const home = `${root}/probe-${newId().slice(0, 8)}`
  mkdirSync(home, { mode: 0o700 })
  mkdirSync(scratch, { recursive: true, mode: 0o700 })
  const trash: Discarder = { discard: (path) => rmSync(path, { recursive: true, force: true }), empty: async () => undefined, flush: () => undefined }
  try {
    const driver = makeDriver(name, home, trash, trees)
    const cacheId = newId().slice(0, 26)
    const layer = { cacheId, link: cacheId }
    const target = await driver.create(layer, [], `${home}/skeleton`)
    if (target.kind !== 'tree') {
      const writer = layerWriter(target)
      for (const part of archive()) writer.push(part)
      writer.close()
    }
    await driver.createContainer('c', [layer])
    const found: string[] = []
    await trees.read({ kind: 'mount', root: driver.recipe('c', [layer], { volatile: true }), mountPoint: scratch, binds: [] }, '/', { data: false, oneFilesystem: true }, async (reader) => {
      for (let entry = await readTreeEntry(reader); entry !== undefined; entry = await readTreeEntry(reader)) found.push(entry.path)
    })
    if (target.kind !== 'tree' && !found.includes(NAME)) throw new EngineError('unsupported', 'a file of a layer does not show')
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

/** The driver that an earlier daemon kept its layers with: they would be out of reach with another. */
function earlier(root: string): string | undefined {
  return GRAPH_DRIVERS.find((name) => {
    const home = `${root}/${HOMES[name] ?? name}`
    return existsSync(home) && readdirSync(home).some((id) => LAYER_ID.test(id))
  })
}

/** The name of the driver to use: the one that was asked for, the one that layers are there of, or the best that works here. */
export async function chooseDriver(options: ChooseOptions): Promise<string> {
  for (const name of readdirSync(options.root)) if (/^probe-[0-9a-f]{8}$/.test(name)) rmSync(`${options.root}/${name}`, { recursive: true, force: true })
  const named = options.asked || earlier(options.root)
  if (named !== undefined) {
    await probe(named, options).catch((cause: unknown) => {
      if (isEngineError(cause) && cause.kind === 'invalid') throw cause
      throw new EngineError('unsupported', `storage driver ${named} cannot be used: ${messageOf(cause)}`, { cause })
    })
    return named
  }
  for (const name of GRAPH_DRIVERS) {
    try {
      await probe(name, options)
      return name
    } catch (cause) {
      log.info('a storage driver does not work here', { name, reason: messageOf(cause) })
    }
  }
  throw new EngineError('unsupported', `no storage driver works in ${options.root}`)
}
