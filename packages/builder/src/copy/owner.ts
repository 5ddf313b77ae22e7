import type { LayeredFs } from '@gantry/graph'
import { EngineError } from '@gantry/std'
import type { Owner } from './place.ts'

const MAX_ID = 0xffff_fffe

function number(text: string): number | undefined {
  return /^\d+$/.test(text) && Number(text) <= MAX_ID ? Number(text) : undefined
}

/** The line of a name in a file of users or groups of the root: its fields. */
function lineOf(root: () => LayeredFs | undefined, file: string, name: string, field: number): readonly string[] | undefined {
  return (root()?.readText(file) ?? '').split('\n').map((line) => line.split(':')).find((fields) => fields[field] === name)
}

/** Reads `--chown=USER[:GROUP]`; names are looked up in the root that is copied to. A name alone has the group of its line, a number alone is the group's, too. */
export function ownerOf(root: () => LayeredFs | undefined, text: string): Owner {
  const [user = '', group] = text.split(':')
  const line = user === '' || number(user) !== undefined ? undefined : lineOf(root, '/etc/passwd', user, 0)
  const uid = user === '' ? 0 : (number(user) ?? number(line?.[2] ?? ''))
  if (uid === undefined) throw new EngineError('invalid', `unable to convert uid/gid chown string to host mapping: can't find uid for user ${user}: no such user: ${user}`)
  if (group === undefined || group === '') return { uid, gid: number(line?.[3] ?? '') ?? uid }
  const gid = number(group) ?? number(lineOf(root, '/etc/group', group, 0)?.[2] ?? '')
  if (gid === undefined) throw new EngineError('invalid', `unable to convert uid/gid chown string to host mapping: can't find gid for group ${group}: no such group: ${group}`)
  return { uid, gid }
}
