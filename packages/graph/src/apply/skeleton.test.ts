import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { it } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { convertSkeletons } from './skeleton-convert.ts'
import { layerTar } from './skeleton-tar.ts'

it('convertSkeletons() keeps the archives of data roots of the first versions', async () => {
  const top = mkdtempSync('/tmp/gtest-skeleton-')
  try {
    mkdirSync(`${top}/files`)
    writeFileSync(`${top}/files/a`, 'content')
    writeFileSync(`${top}/x.tar-skeleton`, zstdCompressSync(Buffer.from(JSON.stringify([{ raw: Buffer.from('head').toString('base64') }, { file: Buffer.from('a').toString('base64'), size: 7 }, { raw: Buffer.from('tail').toString('base64') }]))))
    const told: (readonly [string, number])[] = []
    convertSkeletons(top, (cacheId, tarBytes) => told.push([cacheId, tarBytes]))
    assert.deepEqual(told, [['x', 15]])
    assert.deepEqual(readdirSync(top).sort(), ['files', 'x.skeleton'])
    const parts: Buffer[] = []
    for await (const part of layerTar({ kind: 'skeleton', skeleton: `${top}/x.skeleton`, directory: `${top}/files` })) parts.push(part)
    assert.equal(Buffer.concat(parts).toString(), 'headcontenttail')
  } finally {
    rmSync(top, { recursive: true })
  }
})
