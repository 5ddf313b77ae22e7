import { readdirSync, readFileSync, statSync } from 'node:fs'
import { asInteger, asList, asObject, asString, asStrings, checkDepth, EngineError, hasCode, type JsonObject, logger } from '@gantry/std'

const log = logger('daemon.cdi')

/** What a device brings into a container (Container Device Interface specification, containerEdits). */
export interface ContainerEdits {
  readonly env: readonly string[]
  readonly deviceNodes: readonly CdiNode[]
  readonly mounts: readonly { readonly hostPath: string; readonly containerPath: string; readonly type: string; readonly options: readonly string[] }[]
  readonly hooks: readonly { readonly hookName: string; readonly path: string; readonly args: readonly string[]; readonly env: readonly string[]; readonly timeout: number | undefined }[]
  readonly additionalGids: readonly number[]
}

/** A node of a device; what is left out is taken from the host's. */
export interface CdiNode {
  readonly path: string
  readonly hostPath: string
  readonly permissions: string
  readonly uid: number | undefined
  readonly gid: number | undefined
  readonly fileMode: number | undefined
}

/** One file of the specification directories. */
export interface CdiSpec {
  /** `vendor.com/class` */
  readonly kind: string
  readonly path: string
  readonly edits: ContainerEdits
  readonly devices: ReadonlyMap<string, ContainerEdits>
}

const FILE_LIMIT = 4 << 20
const DEPTH_LIMIT = 32
const KIND = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w-]*$/

const objects = <T>(value: unknown, field: string, read: (o: JsonObject, field: string) => T): readonly T[] => asList(value, field).map((item, index) => read(asObject(item, `${field}[${index}]`), `${field}[${index}]`))
const optional = (o: JsonObject, name: string, field: string): number | undefined => (o[name] === undefined || o[name] === null ? undefined : asInteger(o[name], `${field}.${name}`))

function absolute(path: string, field: string): string {
  if (!path.startsWith('/')) throw new EngineError('invalid', `${field}: expected an absolute path, got "${path}"`)
  return path
}

function editsOf(value: unknown, field: string): ContainerEdits {
  const o = asObject(value, field)
  for (const name of ['intelRdt', 'netDevices']) if (o[name] !== undefined && o[name] !== null) throw new EngineError('unsupported', `${field}.${name} is not supported`)
  return {
    env: asStrings(o['env'], `${field}.env`),
    deviceNodes: objects(o['deviceNodes'], `${field}.deviceNodes`, (node, at) => {
      const path = absolute(asString(node['path'], `${at}.path`), `${at}.path`)
      const hostPath = asString(node['hostPath'], `${at}.hostPath`)
      const permissions = asString(node['permissions'], `${at}.permissions`)
      return { path, hostPath: hostPath === '' ? path : hostPath, permissions: permissions === '' ? 'rwm' : permissions, uid: optional(node, 'uid', at), gid: optional(node, 'gid', at), fileMode: optional(node, 'fileMode', at) }
    }),
    mounts: objects(o['mounts'], `${field}.mounts`, (mount, at) => ({ hostPath: absolute(asString(mount['hostPath'], `${at}.hostPath`), `${at}.hostPath`), containerPath: absolute(asString(mount['containerPath'], `${at}.containerPath`), `${at}.containerPath`), type: asString(mount['type'], `${at}.type`), options: asStrings(mount['options'], `${at}.options`) })),
    hooks: objects(o['hooks'], `${field}.hooks`, (hook, at) => ({ hookName: asString(hook['hookName'], `${at}.hookName`), path: absolute(asString(hook['path'], `${at}.path`), `${at}.path`), args: asStrings(hook['args'], `${at}.args`), env: asStrings(hook['env'], `${at}.env`), timeout: optional(hook, 'timeout', at) })),
    additionalGids: asList(o['additionalGids'], `${field}.additionalGids`).map((gid, index) => asInteger(gid, `${field}.additionalGids[${index}]`)),
  }
}

/** Reads one specification, already taken apart. */
export function parseCdiSpec(document: unknown, path: string): CdiSpec {
  const o = asObject(document, path)
  const version = asString(o['cdiVersion'], `${path}: cdiVersion`)
  if (!/^(0|1)\.\d+\.\d+$/.test(version)) throw new EngineError('invalid', `${path}: cdiVersion: expected 0.x.y or 1.x.y, got "${version}"`)
  const kind = asString(o['kind'], `${path}: kind`)
  if (!KIND.test(kind)) throw new EngineError('invalid', `${path}: kind: expected vendor/class, got "${kind}"`)
  const devices = objects(o['devices'], `${path}: devices`, (device, at): readonly [string, ContainerEdits] => [asString(device['name'], `${at}.name`), editsOf(device['containerEdits'], `${at}.containerEdits`)])
  return { kind, path, edits: editsOf(o['containerEdits'], `${path}: containerEdits`), devices: new Map(devices) }
}

async function readSpec(path: string): Promise<CdiSpec> {
  if (statSync(path).size > FILE_LIMIT) throw new EngineError('invalid', `${path}: more than ${FILE_LIMIT} bytes`)
  const text = readFileSync(path, 'utf8')
  if (path.endsWith('.json')) {
    checkDepth(text, DEPTH_LIMIT)
    return parseCdiSpec(JSON.parse(text), path)
  }
  // Loaded only where somebody has such a file.
  const { parse } = await import('yaml')
  return parseCdiSpec(parse(text, { maxAliasCount: 100 }), path)
}

/** Reads all specifications; a later directory wins over an earlier one. A file that cannot be used is told of and left out. */
export async function readCdiSpecs(directories: readonly string[]): Promise<readonly CdiSpec[]> {
  const found: CdiSpec[] = []
  for (const directory of directories) {
    for (const name of entries(directory).filter((one) => /\.(json|yaml)$/.test(one)).sort()) {
      try {
        found.push(await readSpec(`${directory}/${name}`))
      } catch (cause) {
        log.warn('a device specification is left out', { path: `${directory}/${name}`, cause })
      }
    }
  }
  return found
}

function entries(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return []
    throw error
  }
}
