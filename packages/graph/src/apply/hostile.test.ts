/** Archives that mean harm (facts: R33): whatever they say, nothing outside the layer is touched, and both kinds of layers come to the same tree. */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { isEngineError } from '@gantry/std'
import { readLayerIndex } from '../erofs/layer-index.ts'
import { type Inode, mergeLayers } from '../erofs/merge.ts'
import { BLOCK, encodeHeader, padding, type TarEntry } from '../tar-header.ts'
import { layerWriter, type LayerTarget } from './layer-writer.ts'

const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0]
type Fields = Partial<TarEntry> & { readonly path: string; readonly content?: string }

function member({ content = '', ...fields }: Fields): readonly Buffer[] {
  const entry: TarEntry = { type: 'file', mode: 0o644, uid, gid, size: content.length, mtimeSeconds: 1000, mtimeNanos: 0, link: '', major: 0, minor: 0, xattrs: new Map(), ...fields }
  return [encodeHeader(entry), Buffer.from(content), padding(content.length)]
}
const archive = (...members: readonly Fields[]): Buffer => Buffer.concat([...members.flatMap(member), Buffer.alloc(2 * BLOCK)])
/** A header with bytes of our own in it, its sum set right. */
function forged(fields: Fields, change: (block: Buffer) => void, data: Buffer = Buffer.alloc(0)): Buffer {
  const block = Buffer.from(member(fields)[0] ?? [])
  change(block)
  block.fill(0x20, 148, 156)
  block.write(`${block.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return Buffer.concat([block, data, padding(data.length), Buffer.alloc(2 * BLOCK)])
}
const dir = (path: string, mode = 0o755): Fields => ({ path, type: 'directory', mode })
const link = (path: string, target: string): Fields => ({ path, type: 'link', mode: 0o777, link: target })
const hard = (path: string, target: string): Fields => ({ path, type: 'hardlink', link: target })
const file = (path: string, content = 'bad'): Fields => ({ path, content })

/** What comes of each: a refusal by these words, or these files (`path=content`, `path->target`). */
const CASES: readonly (readonly [what: string, tar: Buffer, outcome: RegExp | readonly string[]])[] = [
  ['a name that climbs', archive(file('../../escape')), ['escape=bad']],
  ['a name that climbs from inside', archive(file('a/../../../escape')), ['escape=bad']],
  ['an absolute name', archive(file('/etc/escape')), ['etc/escape=bad']],
  ['a name of the sentinel itself', archive(file('../outside/sentinel')), ['outside/sentinel=bad']],
  ['a link out, then a file through it', archive(link('out', '../outside'), file('out/sentinel')), ['out->../outside', 'outside/sentinel=bad']],
  ['an absolute link, then a file through it', archive(link('out', '/etc'), file('out/passwd')), ['etc/passwd=bad', 'out->/etc']],
  ['links that lead out in two steps', archive(dir('d'), link('d/up', '..'), link('d/upup', 'up/..'), file('d/upup/escape')), ['d/up->..', 'd/upup->up/..', 'escape=bad']],
  ['a link to itself', archive(link('loop', 'loop'), file('loop/x')), /too many links/],
  ['a link over a directory that was there', archive(dir('d'), file('d/f'), link('d', '../outside'), file('d/sentinel')), ['d->../outside', 'outside/sentinel=bad']],
  ['a file through a file', archive(file('f'), file('f/below')), /is not a directory/],
  ['a link as a directory, then again as one', archive(link('d', '../outside'), dir('d', 0o700), file('d/sentinel')), ['d/sentinel=bad']],
  ['a hard link out', archive(hard('h', '../outside/sentinel')), /hard link .* not in the layer/],
  ['a hard link to an absolute place', archive(hard('h', '/etc/passwd')), /hard link .* not in the layer/],
  ['a hard link through a link out', archive(link('out', '../outside'), hard('h', 'out/sentinel')), /hard link .* not in the layer/],
  ['a hard link to a link out, then written', archive(link('l', '../outside/sentinel'), hard('h', 'l'), file('h')), ['h=bad', 'l->../outside/sentinel']],
  ['a hard link to a directory', archive(dir('d'), hard('h', 'd')), /hard link .* a directory/],
  ['a file over a link out', archive(link('l', '../outside/sentinel'), file('l')), ['l=bad']],
  ['a directory over a link out', archive(link('l', '../outside'), dir('l', 0o777)), []],
  ['a whiteout that climbs', archive(file('d/.wh...', '')), /invalid whiteout/],
  ['a whiteout of nothing', archive(file('.wh.', '')), /invalid whiteout/],
  ['a whiteout through a link out', archive(link('out', '../outside'), file('out/.wh.sentinel', '')), ['out->../outside']],
  ['an opaque mark through a link out', archive(link('out', '../outside'), file('out/.wh..wh..opq', '')), ['out->../outside']],
  ['a mark of overlayfs as an attribute', archive({ ...file('f'), xattrs: new Map([['trusted.overlay.redirect', Buffer.from('/../outside')]]) }), ['f=bad']],
  ['the same name twice', archive(file('f', 'one'), file('f', 'second')), ['f=second']],
  ['a file, then a directory of its name', archive(file('x'), dir('x'), file('x/y')), ['x/y=bad']],
  ['a name with dots and slashes', archive(file('./a//./b')), ['a/b=bad']],
  ['a name of 5,000 characters', archive(file(`${'d/'.repeat(2500)}f`)), /too long/],
  ['a size that lies', Buffer.concat([encodeHeader({ path: 'f', type: 'file', mode: 0o644, uid, gid, size: 1 << 20, mtimeSeconds: 0, mtimeNanos: 0, link: '', major: 0, minor: 0, xattrs: new Map() }), Buffer.from('short')]), /unexpected EOF/],
  ['a negative size', forged(file('f', ''), (block) => block.fill(0xff, 124, 136)), /size of -1 bytes/],
  ['a sum that does not fit', Buffer.concat([Buffer.alloc(BLOCK, 0x41), Buffer.alloc(2 * BLOCK)]), /invalid tar header|bad number/],
  ['a type that nobody knows', forged(file('f', ''), (block) => block.fill(0x5a, 156, 157)), /unsupported member type/],
  ['a pax record that runs over its end', forged({ path: 'x', content: '' }, (block) => { block.fill(0x78, 156, 157); block.write('00000000012\0', 124, 'latin1') }, Buffer.from('999 path=a')), /broken pax/],
  ['a pax size of minus one', Buffer.concat([forged({ path: 'x', content: '' }, (block) => { block.fill(0x78, 156, 157); block.write('00000000013\0', 124, 'latin1') }, Buffer.from('11 size=-1\n')).subarray(0, -2 * BLOCK), archive(file('f'))]), /bad number in a pax record/],
  ['an extension header of a gigabyte', forged({ path: 'x', content: '' }, (block) => { block.fill(0x78, 156, 157); block.write('07777777777\0', 124, 'latin1') }), /extension header of/],
  ['a sparse piece outside its file', forged({ path: 's', content: '' }, (block) => { block.fill(0x53, 156, 157); block.write('00000001000\0', 124, 'latin1'); block.write('00000700000\0', 386, 'latin1'); block.write('00000001000\0', 398, 'latin1'); block.write('00000002000\0', 483, 'latin1') }, Buffer.alloc(512)), /outside of it/],
]

/** Plain files and links of a directory. */
function filesIn(path: string, at = ''): readonly string[] {
  return readdirSync(path).sort().flatMap((name) => {
    const [full, shown] = [`${path}/${name}`, at === '' ? name : `${at}/${name}`]
    const stats = lstatSync(full)
    if (stats.isDirectory()) return filesIn(full, shown)
    if (stats.isSymbolicLink()) return [`${shown}->${readlinkSync(full)}`]
    return [`${shown}=${readFileSync(full, 'latin1')}`]
  })
}

function filesOf(inode: Inode, tar: Buffer, at = ''): readonly string[] {
  return [...(inode.children ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([name, child]) => {
    const shown = at === '' ? name : `${at}/${name}`
    if (child.children !== undefined) return filesOf(child, tar, shown)
    if ((child.mode & 0o170000) === 0o120000) return [`${shown}->${child.link}`]
    return [`${shown}=${tar.toString('latin1', child.block * BLOCK, child.block * BLOCK + child.size)}`]
  })
}

function write(target: LayerTarget, tar: Buffer): void {
  const writer = layerWriter(target)
  try {
    // Odd cuts, so that nothing depends on where chunks end.
    for (let at = 0; at < tar.length; at += 777) writer.push(tar.subarray(at, at + 777))
  } catch (error) {
    writer.abort()
    throw error
  }
  writer.close()
}

describe('hostile layers', () => {
  for (const [what, tar, outcome] of CASES) {
    it(what, () => {
      const top = mkdtempSync('/tmp/gtest-hostile-')
      try {
        mkdirSync(`${top}/outside`)
        writeFileSync(`${top}/outside/sentinel`, 'untouched')
        chmodSync(`${top}/outside/sentinel`, 0o640)
        mkdirSync(`${top}/layer`)
        const before = lstatSync(`${top}/outside/sentinel`, { bigint: true })
        const attempt = (target: LayerTarget, then: () => readonly string[]): void => {
          if (outcome instanceof RegExp) {
            assert.throws(() => {
              write(target, tar)
              then()
            }, (error: unknown) => isEngineError(error) && error.kind === 'invalid' && outcome.test(error.message))
          } else {
            write(target, tar)
            assert.deepEqual(then(), outcome)
          }
        }
        attempt({ kind: 'directory', path: `${top}/layer`, skeleton: `${top}/skeleton` }, () => filesIn(`${top}/layer`))
        attempt({ kind: 'tar', path: `${top}/tar`, index: `${top}/index` }, () => filesOf(mergeLayers([readLayerIndex(`${top}/index`)]), readFileSync(`${top}/tar`)))
        const after = lstatSync(`${top}/outside/sentinel`, { bigint: true })
        assert.deepEqual([after.mode, after.mtimeNs, after.ctimeNs, after.nlink, readFileSync(`${top}/outside/sentinel`, 'utf8')], [before.mode, before.mtimeNs, before.ctimeNs, before.nlink, 'untouched'])
        assert.deepEqual(readdirSync(top).filter((name) => !['outside', 'layer', 'skeleton', 'tar', 'index', 'tar.sparse'].includes(name)), [])
        assert.equal(existsSync('/etc/escape'), false)
      } finally {
        rmSync(top, { recursive: true, force: true })
      }
    })
  }
})
