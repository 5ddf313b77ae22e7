import { EngineError } from '@gantry/std'
import type { ContextNode } from '../context/tree.ts'

const ALL = 0o7777
const WHO: Readonly<Record<string, number>> = { u: 0o4700, g: 0o2070, o: 0o1007, a: 0o7777 }
const WHAT: Readonly<Record<string, number>> = { r: 0o444, w: 0o222, x: 0o111, s: 0o6000, t: 0o1000 }

/** One clause of a symbolic mode (POSIX chmod, "Symbolic mode"). */
function clause(text: string, mode: number, isDirectory: boolean): number {
  const match = /^([ugoa]*)((?:[+=-][rwxXstugo]*)+)$/.exec(text)
  if (match === null) throw new EngineError('invalid', `invalid chmod parameter: ${JSON.stringify(text)}: expected an octal number or a mode such as u=rwX,go=rX`)
  const who = match[1] === '' || match[1] === undefined ? ALL : [...match[1]].reduce((sum, one) => sum | (WHO[one] ?? 0), 0)
  let result = mode
  for (const [, action = '', letters = ''] of (match[2] ?? '').matchAll(/([+=-])([rwxXstugo]*)/g)) {
    let bits = 0
    for (const letter of letters) {
      if (letter === 'X') bits |= isDirectory || (mode & 0o111) !== 0 ? 0o111 : 0
      else if (letter === 'u') bits |= ((mode >> 6) & 7) * 0o111
      else if (letter === 'g') bits |= ((mode >> 3) & 7) * 0o111
      else if (letter === 'o') bits |= (mode & 7) * 0o111
      else bits |= WHAT[letter] ?? 0
    }
    if (action === '+') result |= bits & who
    else if (action === '-') result &= ~(bits & who)
    else result = (result & ~(who & 0o777)) | (bits & who)
  }
  return result
}

/** Permissions of directories that come into being: `--chmod` in octal, or what is usual. */
export const newDirectoryMode = (text: string): number => (/^[0-7]{1,4}$/.test(text) ? Number.parseInt(text, 8) : 0o755)

/** What `--chmod` makes of the permissions of a file: an octal number, or symbolic. Links have none. */
export function modeOf(text: string): (node: ContextNode) => number {
  if (text === '') return (node) => node.mode
  if (/^[0-7]{1,4}$/.test(text)) {
    const mode = Number.parseInt(text, 8)
    return (node) => (node.type === 'link' ? node.mode : mode)
  }
  const clauses = text.split(',')
  for (const one of clauses) clause(one, 0, false)
  return (node) => (node.type === 'link' ? node.mode : clauses.reduce((mode, one) => clause(one, mode, node.type === 'directory'), node.mode))
}
