import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { describe, it } from 'node:test'
import { encodeHeader, padding, type TarEntry } from '@gantry/graph'
import { ignoreRules, openDatabase } from '@gantry/std'
import { type ContextStore, openContextStore } from './store.ts'

function archive(files: Readonly<Record<string, string | Buffer>>): AsyncIterable<Buffer> {
  const entry = (path: string, type: TarEntry['type'], size: number, link = ''): TarEntry => ({ path, type, mode: type === 'directory' ? 0o755 : 0o644, uid: 0, gid: 0, size, mtimeSeconds: 1, mtimeNanos: 0, link, major: 0, minor: 0, xattrs: new Map() })
  const parts = Object.entries(files).flatMap(([path, content]) => {
    if (typeof content === 'string' && content.startsWith('->')) return [encodeHeader(entry(path, 'link', 0, content.slice(2)))]
    if (path.endsWith('/')) return [encodeHeader(entry(path, 'directory', 0))]
    const bytes = Buffer.from(content)
    return [encodeHeader(entry(path, 'file', bytes.length)), bytes, padding(bytes.length)]
  })
  async function* chunks(): AsyncGenerator<Buffer> {
    const all = Buffer.concat([...parts, Buffer.alloc(1024)])
    for (let at = 0; at < all.length; at += 10_007) yield all.subarray(at, at + 10_007)
  }
  return chunks()
}

async function withStore(work: (store: ContextStore, home: string, again: () => ContextStore) => Promise<void>): Promise<void> {
  const home = mkdtempSync('/tmp/gtest-context-')
  const db = openDatabase(`${home}/db`)
  try {
    await work(openContextStore(`${home}/packs`, db), `${home}/packs`, () => openContextStore(`${home}/packs`, db))
  } finally {
    db[Symbol.dispose]()
    rmSync(home, { recursive: true })
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 200))

describe('contexts', () => {
  it('what came once is not written again, also after a restart; content comes back byte for byte', () =>
    withStore(async (store, home, again) => {
      const large = Buffer.alloc(3 << 20, 'large')
      using first = await store.receive(archive({ 'a': 'a', 'dir/b': 'b', 'same': 'a', large, 'empty': '' }))
      await settled()
      const bytes = (): number => readdirSync(home).reduce((sum, name) => sum + statSync(`${home}/${name}`).size, 0)
      assert.equal(bytes(), large.length + 2)
      const read = (path: string): Buffer => Buffer.concat([...first.read(first.tree.get(path)?.digest ?? '')])
      assert.deepEqual([read('a').toString(), read('dir/b').toString(), read('empty').length], ['a', 'b', 0])
      assert.ok(read('large').equals(large))
      const reopened = again()
      using second = await reopened.receive(archive({ 'a': 'a', 'dir/b': 'changed', large }))
      await settled()
      assert.equal(bytes(), large.length + 2 + 'changed'.length)
      assert.equal(Buffer.concat([...second.read(second.tree.get('large')?.digest ?? '')]).length, large.length)
      const packs = readdirSync(home).length
      using third = await reopened.receive(archive({ large }))
      assert.equal(readdirSync(home).length, packs, 'nothing new, no pack')
      third[Symbol.dispose]()
      assert.equal(reopened.prune(Date.now() + 1000), 0, 'what builds hold stays')
      second[Symbol.dispose]()
      assert.ok(reopened.prune(Date.now() + 1000) > large.length)
    }))
  it('digests count names, modes, links and content, and no times; links are followed inside only', () =>
    withStore(async (store) => {
      using one = await store.receive(archive({ 'd/': '', 'd/x': 'x', 'l': '->d/x', 'out': '->/../../etc/passwd', 'loop': '->loop' }))
      using two = await store.receive(archive({ 'd/x': 'x', 'd/y': 'y' }))
      assert.notEqual(one.tree.digest('d'), two.tree.digest('d'))
      assert.equal(one.tree.digest('d/x'), two.tree.digest('d/x'))
      assert.equal(one.tree.resolve('l', true), 'd/x')
      assert.equal(one.tree.resolve('out', true), undefined)
      assert.throws(() => one.tree.resolve('loop', true), /too many links/)
    }))
  it('refuses paths that lead out, and files below files', () =>
    withStore(async (store, home) => {
      await assert.rejects(store.receive(archive({ '../x': 'x' })), /leads outside/)
      await assert.rejects(store.receive(archive({ 'a': '->/etc', 'a/b': 'x' })), /a is not a directory/)
      assert.deepEqual(readdirSync(home), [])
    }))
})

it('ignoreRules() reads patterns as .dockerignore has them', () => {
  const rules = ignoreRules('# comment\n*.txt\n!keep.txt\nnode_modules\n**/*.log\n/top\ndir/*\n!dir/in\na?c\n[xy]z\nesc\\*\n')
  for (const path of ['a.txt', 'node_modules', 'node_modules/x/y', 'x.log', 'deep/er/x.log', 'top', 'dir/out', 'abc', 'xz', 'esc*']) assert.equal(rules.ignores(path), true, path)
  for (const path of ['keep.txt', 'sub/a.txt', 'dir/in', 'dir/in/x', 'deep/top', 'ac', 'az', 'escape']) assert.equal(rules.ignores(path), false, path)
})
