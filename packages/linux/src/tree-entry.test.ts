import assert from 'node:assert/strict'
import { it } from 'node:test'
import { byteReader } from '@gantry/std'
import { encodeTreeEnd, encodeTreeEntry, readTreeEntry, treeEntry } from './tree-entry.ts'

it('tree entries survive the way there and back, bytes of names included', async () => {
  const entry = treeEntry({ path: 'a/\xff', mode: 0o100644, uid: 1, gid: 2, size: 3, mtimeSeconds: -5, mtimeNanos: 6, link: '', xattrs: new Map([['user.x', Buffer.from([0, 1])]]), links: 2 })
  const bytes = Buffer.concat([encodeTreeEntry(entry), Buffer.from('abc'), encodeTreeEnd()])
  const reader = byteReader((async function* () { for (const byte of bytes) yield Buffer.from([byte]) })())
  const { inode: _, device: __, ...seen } = (await readTreeEntry(reader)) ?? treeEntry({ path: '' })
  const { inode: ___, device: ____, ...wanted } = entry
  assert.deepEqual(seen, wanted)
  await reader.skip(3)
  assert.equal(await readTreeEntry(reader), undefined)
})
