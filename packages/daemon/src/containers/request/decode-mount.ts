import type { MountRequest } from '@gantry/api'
import { asBoolean, asInteger, asList, asObject, asString, asStringMap, asStrings, type JsonObject } from '@gantry/std'

/** Reads an object that may be left out. */
function optional<T>(o: JsonObject, name: string, field: string, read: (options: JsonObject, at: string) => T): T | undefined {
  const value = o[name]
  return value === undefined || value === null ? undefined : read(asObject(value, `${field}.${name}`), `${field}.${name}`)
}

/** Reads one of `HostConfig.Mounts` (Engine API, `Mount`). */
export function decodeMount(o: JsonObject, field: string): MountRequest {
  const bind = optional(o, 'BindOptions', field, (options, at) => {
    const flag = (name: string): boolean => asBoolean(options[name], `${at}.${name}`)
    return { Propagation: asString(options['Propagation'], `${at}.Propagation`), NonRecursive: flag('NonRecursive'), CreateMountpoint: flag('CreateMountpoint'), ReadOnlyNonRecursive: flag('ReadOnlyNonRecursive'), ReadOnlyForceRecursive: flag('ReadOnlyForceRecursive') }
  })
  const volume = optional(o, 'VolumeOptions', field, (options, at) => {
    const driver = asObject(options['DriverConfig'], `${at}.DriverConfig`)
    return {
      NoCopy: asBoolean(options['NoCopy'], `${at}.NoCopy`), Labels: asStringMap(options['Labels'], `${at}.Labels`), Subpath: asString(options['Subpath'], `${at}.Subpath`),
      DriverConfig: { Name: asString(driver['Name'], `${at}.DriverConfig.Name`), Options: asStringMap(driver['Options'], `${at}.DriverConfig.Options`) },
    }
  })
  const image = optional(o, 'ImageOptions', field, (options, at) => ({ Subpath: asString(options['Subpath'], `${at}.Subpath`) }))
  const tmpfs = optional(o, 'TmpfsOptions', field, (options, at) => ({
    SizeBytes: asInteger(options['SizeBytes'], `${at}.SizeBytes`), Mode: asInteger(options['Mode'], `${at}.Mode`),
    Options: asList(options['Options'], `${at}.Options`).map((pair, index) => asStrings(pair, `${at}.Options[${index}]`)),
  }))
  return {
    Type: asString(o['Type'], `${field}.Type`), Source: asString(o['Source'], `${field}.Source`), Target: asString(o['Target'], `${field}.Target`), ReadOnly: asBoolean(o['ReadOnly'], `${field}.ReadOnly`),
    ...(bind && { BindOptions: bind }), ...(volume && { VolumeOptions: volume }), ...(image && { ImageOptions: image }), ...(tmpfs && { TmpfsOptions: tmpfs }),
  }
}
