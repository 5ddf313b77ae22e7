
let pool = Buffer.alloc(0)
let used = 0

/** A new id of 64 hexadecimal digits whose short form is not a plain number (a host name that is all digits misleads). */
export function newId(): string {
  for (;;) {
    const id = randomHex(32)
    if (!/^\d+$/.test(id.slice(0, 12))) return id
  }
}

/** Random bytes as hexadecimal text, taken from a pool that is filled a page at a time. */
export function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    pool = process.getBuiltinModule('node:crypto').randomBytes(4096)
    used = 0
  }
  used += bytes
  return pool.toString('hex', used - bytes, used)
}

/** The first 12 digits, without the algorithm. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12)
}
