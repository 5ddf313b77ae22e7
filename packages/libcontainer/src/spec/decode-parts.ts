import { asInteger, asList, asObject, EngineError, type JsonObject } from '@gantry/std'
import type { OciIdMapping } from './oci.ts'

const INFINITY = 2 ** 63

/** A list of objects, each read by itself; errors name the entry. */
export function objects<T>(value: unknown, field: string, read: (o: JsonObject, field: string) => T): readonly T[] {
  return asList(value, field).map((item, index) => read(asObject(item, `${field}[${index}]`), `${field}[${index}]`))
}

/** A value that may be left out. */
export function optional<T>(value: unknown, read: (value: unknown) => T): T | undefined {
  return value === undefined || value === null ? undefined : read(value)
}

/** A limit of the kernel's: numbers beyond what it counts to mean that there is none. */
export function limitOf(value: unknown, field: string): number {
  if (typeof value !== 'number' || !Number.isInteger(value)) throw new EngineError('invalid', `${field}: expected a whole number`)
  return value >= INFINITY ? -1 : value
}

/** Fields that mean something which cannot be done here. */
export function refuse(object: JsonObject, fields: readonly string[], prefix: string): void {
  for (const field of fields) {
    const value = object[field]
    const empty = value === undefined || value === null || value === '' || value === false || (typeof value === 'object' && Object.keys(value).length === 0)
    if (!empty) throw new EngineError('unsupported', `${prefix}${field} is not supported by this runtime`)
  }
}

/** `uidMappings` and `gidMappings`, wherever they stand. */
export function idMappings(object: JsonObject, name: string, prefix: string): readonly OciIdMapping[] {
  return objects(object[name], `${prefix}${name}`, (o, field) => ({ containerID: asInteger(o['containerID'], `${field}.containerID`), hostID: asInteger(o['hostID'], `${field}.hostID`), size: asInteger(o['size'], `${field}.size`) }))
}
