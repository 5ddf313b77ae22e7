import { createHash, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { EngineError } from '@gantry/std'

const KEEP_MS = 60_000
const LINE_LIMIT = 10_000

/**
 * Reads a file of `user:hash` lines as Apache's htpasswd writes them with `-B` (bcrypt). A password that was right is known for a
 * minute: bcrypt is slow on purpose, and a pull is many requests.
 */
export async function openPasswords(path: string): Promise<(user: string, password: string) => Promise<boolean>> {
  const { compare } = await import('bcryptjs')
  const hashes = new Map<string, string>()
  for (const [index, line] of readFileSync(path, 'utf8').split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const colon = line.indexOf(':')
    const hash = line.slice(colon + 1).trim()
    if (colon < 1 || !/^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/.test(hash) || index > LINE_LIMIT) throw new EngineError('invalid', `${path}:${index + 1}: expected USER:HASH with a bcrypt hash (htpasswd -B)`)
    hashes.set(line.slice(0, colon), hash)
  }
  const known = new Map<string, { readonly digest: Buffer; readonly until: number }>()
  return async (user, password) => {
    const digest = createHash('sha256').update(password).digest()
    const seen = known.get(user)
    if (seen !== undefined && seen.until > Date.now() && timingSafeEqual(seen.digest, digest)) return true
    // An unknown user costs as much time as a known one.
    const [hash = `$2b$10$${'.'.repeat(53)}`, isKnown] = [hashes.get(user), hashes.has(user)]
    const fits = await compare(password, hash)
    if (!fits || !isKnown) return false
    known.set(user, { digest, until: Date.now() + KEEP_MS })
    return true
  }
}
