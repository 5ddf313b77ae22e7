import type { HostConfig } from '@gantry/api'
import { EngineError, parseBytes } from '@gantry/std'
import { ATTRIBUTE_OPTIONS } from '../../logging/attributes.ts'
import type { LogDriver } from '../../logging/drivers/driver.ts'
import { LOG_DRIVERS } from '../../logging/drivers/table.ts'

const DEFAULT_LOG_BYTES = 100 << 20
const DEFAULT_LOG_FILES = 5
const LOCAL_LOG_BYTES = 20 << 20
const FILE_OPTIONS: ReadonlySet<string> = new Set(['max-size', 'max-file', 'compress'])
const MODE_OPTIONS: ReadonlySet<string> = new Set(['mode', 'max-buffer-size'])
const CACHE_OPTIONS: ReadonlySet<string> = new Set(['cache-disabled', 'cache-max-size', 'cache-max-file', 'cache-compress'])

/** Names of all log drivers, sorted. */
export const LOG_DRIVER_NAMES: readonly string[] = [...Object.keys(LOG_DRIVERS), 'json-file', 'local', 'none'].sort()

/** How a container's log is kept, and whereto it is sent. */
export interface LogSettings {
  /** How the lines are kept here; undefined: not at all. */
  readonly kept: 'json' | 'journal' | undefined
  /** Whether `logs` may read what is kept. */
  readonly readable: boolean
  readonly maxBytes: number
  readonly maxFiles: number
  /** A full disk loses lines instead of holding the container back. */
  readonly lossy: boolean
  /** Sends the lines elsewhere, too. */
  readonly driver: LogDriver | undefined
}

const refuse = (message: string): never => {
  throw new EngineError('invalid', message)
}

function checkOptions(type: string, options: Readonly<Record<string, string>>, driver: LogDriver | undefined): void {
  const known = (key: string): boolean => type !== 'none' && (ATTRIBUTE_OPTIONS.has(key) || MODE_OPTIONS.has(key) || (driver === undefined ? FILE_OPTIONS.has(key) : CACHE_OPTIONS.has(key) || driver.options.has(key) || driver.unused.has(key)))
  for (const key of Object.keys(options)) if (!known(key)) refuse(`unknown log opt '${key}' for ${type} log driver`)
  for (const key of ['compress', 'cache-compress', 'cache-disabled']) if (options[key] !== undefined && !/^(true|false|1|0)$/i.test(options[key])) refuse(`invalid ${key}: ${options[key]}: expected true or false`)
  const mode = options['mode'] ?? 'blocking'
  if (!['', 'blocking', 'non-blocking'].includes(mode)) refuse(`logger: invalid mode: ${mode}`)
  if (options['max-buffer-size'] !== undefined) {
    if (mode !== 'non-blocking') refuse('logger: max-buffer-size option is only supported with \'non-blocking\' mode')
    parseBytes(options['max-buffer-size'])
  }
}

/** How a driver's lines are kept here; undefined: not at all. */
export function keptAs(type: string): LogSettings['kept'] {
  return type === 'none' ? undefined : type === '' || type === 'json-file' ? 'json' : 'journal'
}

/** Whether an option is switched on. */
const isOn = (text: string | undefined): boolean => /^(true|1)$/i.test(text ?? '')

/** Reads log options; those that no driver of ours knows are refused by name. */
export function logSettings(config: HostConfig['LogConfig']): LogSettings {
  const type = config.Type === '' ? 'json-file' : config.Type
  const driver = LOG_DRIVERS[type]
  if (driver === undefined && type !== 'json-file' && type !== 'local' && type !== 'none') throw new EngineError('invalid', `error looking up logging plugin ${type}: plugin "${type}" not found`)
  const options = config.Config
  checkOptions(type, options, driver)
  driver?.check(options)
  const [sizeName, filesName] = driver === undefined ? ['max-size', 'max-file'] : ['cache-max-size', 'cache-max-file']
  const maxSize = options[sizeName]
  const size = type === 'json-file' ? DEFAULT_LOG_BYTES : LOCAL_LOG_BYTES
  const maxFile = options[filesName]
  const maxFiles = maxFile !== undefined ? Number(maxFile) : maxSize === undefined || type !== 'json-file' ? DEFAULT_LOG_FILES : 1
  if (!Number.isInteger(maxFiles) || maxFiles < 1 || maxFiles > 100) refuse(`invalid ${filesName}: ${maxFile}: expected a number from 1 to 100`)
  if (maxFile !== undefined && maxFiles > 1 && maxSize === undefined && type === 'json-file') refuse('max-file cannot be set without max-size')
  return {
    kept: keptAs(type), readable: type !== 'none' && !isOn(options['cache-disabled']),
    maxBytes: maxSize === undefined ? size : maxSize === '-1' ? 0 : parseBytes(maxSize), maxFiles, lossy: options['mode'] === 'non-blocking', driver,
  }
}

/** What of the options is taken and not done. */
export function logWarnings(config: HostConfig['LogConfig']): readonly string[] {
  const given = Object.keys(config.Config)
  return [
    ...['compress', 'cache-compress'].filter((key) => isOn(config.Config[key])).map((key) => `log-opt ${key}: rotated logs are kept as they are, not compressed`),
    ...given.filter((key) => key === 'max-buffer-size' || LOG_DRIVERS[config.Type]?.unused.has(key) === true).map((key) => `log-opt ${key}: taken and not used: lines wait in the file that is kept here`),
  ]
}

/** The container's own settings, filled up with the daemon's. */
export function withDefaultLog(own: HostConfig['LogConfig'], daemon: HostConfig['LogConfig']): HostConfig['LogConfig'] {
  const Type = own.Type === '' ? daemon.Type : own.Type
  return { Type, Config: Type === daemon.Type ? { ...daemon.Config, ...own.Config } : own.Config }
}
