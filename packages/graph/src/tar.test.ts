import assert from 'node:assert/strict'
import { it } from 'node:test'
import { BLOCK, encodeHeader, padding, type TarEntry } from './tar-header.ts'
import { readTar } from './tar-reader.ts'
import { cleanPath, toTreeEntries } from './whiteout.ts'

const entry = (fields: Partial<TarEntry>): TarEntry => ({ path: 'a', type: 'file', mode: 0o644, uid: 0, gid: 0, size: 0, mtimeSeconds: 1, mtimeNanos: 0, link: '', major: 0, minor: 0, xattrs: new Map(), ...fields })

async function* bytes(...parts: readonly Buffer[]): AsyncGenerator<Buffer> {
  // Odd cuts: a reader must not depend on where chunks end.
  const all = Buffer.concat(parts)
  for (let at = 0; at < all.length; at += 333) yield all.subarray(at, at + 333)
}

async function read(...parts: readonly Buffer[]): Promise<readonly (TarEntry & { readonly content: string })[]> {
  const found: (TarEntry & { readonly content: string })[] = []
  for await (const { entry: one, data } of readTar(bytes(...parts))) {
    const chunks: Buffer[] = []
    for await (const chunk of data()) chunks.push(chunk)
    found.push({ ...one, content: Buffer.concat(chunks).toString() })
  }
  return found
}

it('what encodeHeader() writes, readTar() reads: long names, big ids, times, attributes', async () => {
  const wanted = entry({ path: `${'d/'.repeat(80)}file`, size: 5, uid: 3_000_000, gid: 4_000_000, mtimeSeconds: 7, mtimeNanos: 123_456_789, xattrs: new Map([['security.capability', Buffer.from([1, 0, 255])]]) })
  const [seen] = await read(encodeHeader(wanted), Buffer.from('hello'), padding(5), Buffer.alloc(BLOCK * 2))
  assert.deepEqual(seen, { ...wanted, content: 'hello' })
})
it('readTar() skips what is not read and reads what follows', async () => {
  const found: string[] = []
  for await (const { entry: one } of readTar(bytes(encodeHeader(entry({ path: 'big', size: 2000 })), Buffer.alloc(2048), encodeHeader(entry({ path: 'next' })), Buffer.alloc(BLOCK * 2)))) found.push(one.path)
  assert.deepEqual(found, ['big', 'next'])
})
it('readTar() refuses a broken sum, a cut, and a huge extension', async () => {
  const broken = encodeHeader(entry({}))
  broken[0] = 0x7a
  await assert.rejects(read(broken), /invalid tar header/)
  await assert.rejects(read(encodeHeader(entry({ size: 100 })), Buffer.from('short')), /unexpected EOF|missing/)
  const huge = encodeHeader(entry({ xattrs: new Map([['x', Buffer.alloc(2 << 20)]]) }))
  await assert.rejects(read(huge), /extension header of/)
})
it('cleanPath() never leaves the root', () => assert.deepEqual(['../../etc/passwd', '/abs', './a//b/', '.', 'a/../../b'].map(cleanPath), ['etc/passwd', 'abs', 'a/b', undefined, 'b']))
it('toTreeEntries() turns whiteouts into what the driver keeps', () => {
  const gone = entry({ path: 'etc/.wh.shadow' })
  assert.deepEqual(toTreeEntries(gone, 'overlay').map((one) => [one.path, one.mode, one.action]), [['etc/shadow', 0o020000, 'make']])
  assert.deepEqual(toTreeEntries(gone, 'apply').map((one) => [one.path, one.action]), [['etc/shadow', 'delete']])
  assert.deepEqual(toTreeEntries(entry({ path: 'etc/.wh..wh..opq' }), 'overlay').map((one) => [one.path, one.action, one.xattrs.get('trusted.overlay.opaque')?.toString()]), [['etc', 'xattrs', 'y']])
  assert.deepEqual(toTreeEntries(entry({ xattrs: new Map([['trusted.overlay.redirect', Buffer.from('/')]]) }), 'overlay')[0]?.xattrs.size, 0)
})
it('readTar() survives what is not tar (fuzz, seeded)', async () => {
  let seed = 12345
  const random = (): number => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff
  for (let round = 0; round < 300; round++) {
    const archive = Buffer.concat([encodeHeader(entry({ path: 'x', size: 10 })), Buffer.alloc(BLOCK), encodeHeader(entry({ path: 'y'.repeat(120) })), Buffer.alloc(BLOCK * 2)])
    for (let n = 0; n < 1 + random() * 8; n++) archive[Math.floor(random() * archive.length)] = Math.floor(random() * 256)
    await read(archive).catch((error: unknown) => assert.ok(error instanceof Error && (error as { kind?: string }).kind === 'invalid', `seed 12345 round ${round}: ${String(error)}`))
  }
})
