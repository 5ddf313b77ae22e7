import type { OciIdMapping } from '@gantry/runtime'
import { EngineError, readText } from '@gantry/std'

/** Ids of containers on the host. */
export interface UserMaps {
  readonly uids: readonly OciIdMapping[]
  readonly gids: readonly OciIdMapping[]
}

const DEFAULT_USER = 'dockremap'
const RANGES_LIMIT = 340

/** The ranges of a name or number in a file of subuid(5), one behind the other from id 0 inside. */
export function parseSubordinateIds(text: string, path: string, names: readonly string[]): readonly OciIdMapping[] {
  const mappings: OciIdMapping[] = []
  let next = 0
  for (const line of text.split('\n')) {
    const match = /^([^:#]+):(\d{1,10}):(\d{1,10})$/.exec(line.trim())
    if (match === null || !names.includes(match[1] ?? '')) continue
    const size = Number(match[3])
    if (size === 0) continue
    mappings.push({ containerID: next, hostID: Number(match[2]), size })
    next += size
  }
  if (mappings.length === 0) throw new EngineError('invalid', `--userns-remap: no range for ${names[0]} in ${path}; add a line such as ${names[0]}:100000:65536`)
  if (mappings.length > RANGES_LIMIT) throw new EngineError('invalid', `--userns-remap: more than ${RANGES_LIMIT} ranges for ${names[0]} in ${path}`)
  return mappings
}

/** Name and number of a user or group, whichever was given. */
function namesOf(path: string, key: string): readonly string[] {
  const line = (readText(path) ?? '').split('\n').find((one) => one.split(':')[0] === key || one.split(':')[2] === key)
  return line === undefined ? [key] : [...new Set([key, line.split(':')[0] ?? key, line.split(':')[2] ?? key])]
}

/** Reads what `--userns-remap` names: `default`, `USER`, `USER:GROUP`, by name or number. */
export function readSubordinateIds(setting: string): UserMaps {
  const [user = '', group] = setting === 'default' ? [DEFAULT_USER] : setting.split(':')
  return {
    uids: parseSubordinateIds(readText('/etc/subuid') ?? '', '/etc/subuid', namesOf('/etc/passwd', user)),
    gids: parseSubordinateIds(readText('/etc/subgid') ?? '', '/etc/subgid', namesOf('/etc/group', group ?? user)),
  }
}
