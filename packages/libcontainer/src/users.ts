import { EngineError } from '@gantry/std'

/** Who a process runs as. */
export interface Identity {
  readonly uid: number
  readonly gid: number
  readonly additionalGids: readonly number[]
  readonly home: string
}

/** The two files of a root file system that say who is who. */
export interface UserFiles {
  readonly passwd: string
  readonly group: string
}

/** uid_t and gid_t: the last value means "no change" to the kernel (CVE-2024-40635: never let a number wrap). */
const MAX_ID = 2 ** 32 - 2
const LINES = 100_000

const rows = (text: string): readonly (readonly string[])[] => text.split('\n', LINES).map((line) => line.trim().split(':'))

function number(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined
  const value = Number(text)
  return value <= MAX_ID ? value : undefined
}

/**
 * Resolves `user[:group]`, names or numbers, against the container's own files. A number wins over a name that looks like
 * one (CVE-2016-3697).
 */
export function resolveUser(user: string, files: UserFiles, extraGroups: readonly string[] = []): Identity {
  const [who = '', ofGroup] = user.split(':', 2)
  if (/^-?\d+$/.test(who) && number(who) === undefined) throw new EngineError('invalid', `uid ${who} is not between 0 and ${MAX_ID}`)
  const wanted = number(who)
  const row = rows(files.passwd).find((fields) => (wanted === undefined ? fields[0] === (who === '' ? 'root' : who) : number(fields[2]) === wanted))
  const uid = wanted ?? (who === '' ? 0 : number(row?.[2]))
  if (uid === undefined) throw new EngineError('invalid', `unable to find user ${who}: no matching entries in passwd file`)
  const gid = ofGroup === undefined || ofGroup === '' ? (number(row?.[3]) ?? 0) : groupId(ofGroup, files.group)
  const member = row?.[0]
  const listed = ofGroup === undefined || ofGroup === '' ? rows(files.group).filter((fields) => member !== undefined && (fields[3] ?? '').split(',').includes(member)) : []
  const additional = new Set(listed.map((fields) => number(fields[2])).filter((id) => id !== undefined))
  for (const name of extraGroups) additional.add(groupId(name, files.group))
  const gids = [...additional].filter((id) => id !== gid)
  return { uid, gid, additionalGids: [gid, ...gids], home: row?.[5] === undefined || row[5] === '' ? '/' : row[5] }
}

function groupId(name: string, groups: string): number {
  const direct = number(name)
  if (direct !== undefined) return direct
  const id = number(rows(groups).find((fields) => fields[0] === name)?.[2])
  if (id === undefined) throw new EngineError('invalid', `unable to find group ${name}: no matching entries in group file`)
  return id
}
