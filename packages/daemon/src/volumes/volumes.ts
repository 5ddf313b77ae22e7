import { existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs'
import type { HostMounts } from '@gantry/runtime'
import { type Database, EngineError, newId } from '@gantry/std'
import { localOptions, resolvedData } from './local-options.ts'
import { openPlugin } from './plugin.ts'

/** A named directory that outlives containers. */
export interface Volume {
  readonly name: string
  /** `local`, or the name of a plugin. */
  readonly driver: string
  readonly createdAt: number
  readonly labels: Readonly<Record<string, string>>
  readonly options: Readonly<Record<string, string>>
  readonly mountPoint: string
  readonly anonymous: boolean
}

/** Volumes of the local driver and of plugins. */
export interface Volumes {
  create(request: { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly options: Readonly<Record<string, string>>; readonly anonymous?: boolean }): Volume
  /** A volume of a plugin. */
  createForeign(request: { readonly name: string; readonly driver: string; readonly labels: Readonly<Record<string, string>>; readonly options: Readonly<Record<string, string>> }): Promise<Volume>
  get(name: string): Volume | undefined
  list(): readonly Volume[]
  remove(name: string): void
  /** Removed by its plugin first. */
  removeForeign(volume: Volume): Promise<void>
  /** What its options say is mounted, for as long as a container has it. */
  mount(name: string): Promise<void>
  unmount(name: string): Promise<void>
  rename(from: string, to: string): void
  /** True when nothing has been put into it yet. */
  isEmpty(volume: Volume): boolean
}

/** Who plugins are told uses a volume: the engine, for all containers together. */
const USER = 'gantry'
/** MS_BIND | MS_REC (`linux/mount.h`) */
const BIND = 4096 | 16384
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/

/** Opens the volumes below a root; `discard` moves a removed one out of sight. */
export function openVolumes(db: Database, root: string, discard: (path: string) => void, mounts: HostMounts): Volumes {
  db.migrate('volumes', ['CREATE TABLE volume (name TEXT PRIMARY KEY, created_at INTEGER NOT NULL, labels TEXT NOT NULL, options TEXT NOT NULL, anonymous INTEGER NOT NULL) STRICT, WITHOUT ROWID;', "ALTER TABLE volume ADD COLUMN driver TEXT NOT NULL DEFAULT 'local'"])
  mkdirSync(root, { recursive: true, mode: 0o711 })
  const fromRow = (row: Readonly<Record<string, unknown>>): Volume => ({
    name: String(row['name']),
    driver: String(row['driver']),
    createdAt: Number(row['created_at']),
    labels: JSON.parse(String(row['labels'])) as Record<string, string>,
    options: JSON.parse(String(row['options'])) as Record<string, string>,
    mountPoint: `${root}/${String(row['name'])}/_data`,
    anonymous: row['anonymous'] === 1,
  })
  const get = (name: string): Volume | undefined => {
    const row = db.get('SELECT * FROM volume WHERE name = ?', name)
    return row === undefined ? undefined : fromRow(row)
  }
  const checkName = (name: string): void => {
    if (!NAME.test(name)) throw new EngineError('invalid', `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`)
  }
  const keep = (request: Parameters<Volumes['create']>[0], name: string, driver: string): Volume => {
    db.transaction(
      () => {
        db.run('INSERT INTO volume VALUES (?, ?, ?, ?, ?, ?)', name, Date.now(), JSON.stringify(request.labels), JSON.stringify(request.options), request.name === '' || request.anonymous === true ? 1 : 0, driver)
        mkdirSync(`${root}/${name}/_data`, { recursive: true, mode: 0o755 })
      },
      { durable: true },
    )
    const made = get(name)
    if (made === undefined) throw new EngineError('internal', `volume ${name} was not kept`)
    return made
  }
  const forget = (name: string): void => {
    db.run('DELETE FROM volume WHERE name = ?', name)
    if (existsSync(`${root}/${name}`)) discard(`${root}/${name}`)
  }
  return {
    get,
    list: () => db.all('SELECT * FROM volume ORDER BY name').map(fromRow),
    create(request) {
      const name = request.name === '' ? newId() : request.name
      checkName(name)
      localOptions(request.options)
      const known = get(name)
      if (known !== undefined) {
        if (Object.keys(request.options).length > 0 && JSON.stringify(known.options) !== JSON.stringify(request.options)) throw new EngineError('conflict', `volume ${name} exists with other options`)
        return known
      }
      return keep(request, name, 'local')
    },
    async createForeign(request) {
      const name = request.name === '' ? newId() : request.name
      checkName(name)
      const known = get(name)
      if (known !== undefined && known.driver !== request.driver) throw new EngineError('conflict', `create ${name}: conflict: volume name must be unique`)
      if (known !== undefined) return known
      const plugin = await openPlugin(request.driver)
      await plugin.create(name, request.options)
      return keep(request, name, request.driver)
    },
    remove: forget,
    async removeForeign(volume) {
      const plugin = await openPlugin(volume.driver)
      await plugin.remove(volume.name)
      forget(volume.name)
    },
    async mount(name) {
      const volume = get(name)
      if (volume !== undefined && volume.driver !== 'local') {
        if (mounts.isMounted(volume.mountPoint)) return
        const source = await (await openPlugin(volume.driver)).mount(name, USER)
        return mounts.mount({ source, target: volume.mountPoint, type: '', flags: BIND, data: '' })
      }
      const wanted = volume === undefined ? undefined : localOptions(volume.options).mount
      if (volume !== undefined && wanted !== undefined) await mounts.mount({ ...wanted, target: volume.mountPoint, data: await resolvedData(wanted.type, wanted.data) })
    },
    async unmount(name) {
      const volume = get(name)
      if (volume !== undefined && volume.driver !== 'local') {
        if (!mounts.isMounted(volume.mountPoint)) return
        await mounts.unmount(volume.mountPoint)
        return (await openPlugin(volume.driver)).unmount(name, USER)
      }
      if (volume !== undefined && localOptions(volume.options).mount !== undefined) await mounts.unmount(volume.mountPoint)
    },
    rename(from, to) {
      const volume = get(from)
      if (volume === undefined) throw new EngineError('not-found', `get ${from}: no such volume`)
      if (!NAME.test(to)) throw new EngineError('invalid', `"${to}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed`)
      if (volume.driver !== 'local') throw new EngineError('unsupported', `volume ${from} belongs to the plugin ${volume.driver}, which knows it by its name`)
      if (get(to) !== undefined) throw new EngineError('conflict', `volume name ${to} is already in use`)
      db.transaction(
        () => {
          db.run('UPDATE volume SET name = ? WHERE name = ?', to, from)
          renameSync(`${root}/${from}`, `${root}/${to}`)
        },
        { durable: true },
      )
    },
    isEmpty: (volume) => readdirSync(volume.mountPoint).length === 0,
  }
}
