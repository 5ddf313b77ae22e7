import assert from 'node:assert/strict'
import { it } from 'node:test'
import { FILE_TYPE, type FileRow, fileRow, fileRows, readFileRow } from './file-list.ts'

it('a list of files is read as it was written; what is none is refused', () => {
  const rows: readonly FileRow[] = [
    { path: 'a b\n', mode: FILE_TYPE.file + 0o644, uid: 1, gid: 2, size: 3, modTime: 1_700_000_000_123_456_789n, link: '' },
    { path: 'l', mode: FILE_TYPE.link + 0o777, uid: 0, gid: 0, size: 1, modTime: -1n, link: '../x' },
  ]
  const list = Buffer.from(rows.map(fileRow).join(''))
  assert.deepEqual([...fileRows(list)].map(readFileRow), rows)
  assert.throws(() => [...fileRows(list.subarray(0, -1))], /cut off/)
  assert.throws(() => readFileRow(Buffer.from('x 0 0 0 0\0a\0\0')), /expected mode, uid, gid, size and time/)
})
