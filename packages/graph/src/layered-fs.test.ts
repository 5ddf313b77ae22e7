import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { it } from 'node:test'
import { directoryView, layeredFs } from './layered-fs.ts'

it('layeredFs() follows links inside the union, never out of it', () => {
  const top = mkdtempSync('/tmp/gtest-layers-')
  try {
    for (const layer of ['a/etc', 'b/etc', 'b/usr']) mkdirSync(`${top}/${layer}`, { recursive: true })
    writeFileSync(`${top}/b/etc/passwd`, 'lower')
    writeFileSync(`${top}/a/etc/group`, 'upper')
    symlinkSync('/etc/passwd', `${top}/a/etc/link`)
    symlinkSync('../../../../../../etc/hostname', `${top}/a/etc/out`)
    symlinkSync('loop', `${top}/a/etc/loop`)
    const fs = layeredFs([`${top}/a`, `${top}/b`].map(directoryView))
    assert.equal(fs.readText('/etc/link'), 'lower')
    assert.equal(fs.readText('/etc/group'), 'upper')
    assert.equal(fs.readText('/etc/out'), undefined)
    assert.equal(fs.readText('/etc/loop'), undefined)
    assert.deepEqual([...fs.names('/etc')].sort(), ['group', 'link', 'loop', 'out', 'passwd'])
  } finally {
    rmSync(top, { recursive: true })
  }
})
