import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EngineError, isEngineError } from '@gantry/std'
import { bytesMessage, readBytesMessage } from './bytes-message.ts'
import { type FileSink, receiveFiles } from './files.ts'
import { framed, frameReader } from './frames.ts'
import { type FileStat, GO_MODE, PACKET, packet, readPacket, readStat, writeStat } from './packet.ts'
import { decode, encode, serviceNamed } from './schema.ts'
import type { ClientSession } from './session.ts'

const stat = (path: string, more: Partial<FileStat> = {}): FileStat => ({ path, mode: 0o644, uid: 0, gid: 0, size: 3, modTime: 1_700_000_000_123_456_789n, linkname: '', xattrs: new Map(), ...more })
const listed = (...paths: readonly string[]): Buffer => Buffer.concat([...paths.map((path) => framed(packet(PACKET.stat, { stat: writeStat(stat(path)) }))), framed(packet(PACKET.stat))])

/** A client that says `first`, answers what is asked of it, and ends when it is told that all has come. */
function clientOf(first: Buffer, answer: (id: number) => readonly Uint8Array[]): { readonly session: ClientSession; readonly asked: number[] } {
  const asked: number[] = []
  const session = {
    open: () => {
      const queue: Buffer[] = [first]
      let stir = Promise.withResolvers<void>()
      const hear = (message: Uint8Array): void => {
        const { type, id } = readPacket(message)
        if (type === PACKET.request) {
          asked.push(id)
          queue.push(Buffer.concat(answer(id).map(framed)))
        } else if (type === PACKET.end) queue.push(framed(packet(PACKET.end)))
        stir.resolve()
      }
      return {
        send: async (message: Uint8Array) => hear(message),
        sendAll: async (messages: readonly Uint8Array[]) => messages.forEach(hear),
        end: () => undefined,
        cancel: () => undefined,
        async *received(through = (chunk: Buffer): Buffer | undefined => chunk) {
          const read = frameReader()
          for (let ended = false; !ended; ) {
            const chunk = queue.shift()
            if (chunk === undefined) {
              await stir.promise
              stir = Promise.withResolvers()
              continue
            }
            // As small as connections make them.
            for (let at = 0; at < chunk.length; at += 7) {
              const left = through(chunk.subarray(at, at + 7))
              if (left === undefined) continue
              const messages = read(left)
              ended ||= messages.some((message) => readPacket(message).type === PACKET.end)
              yield messages
            }
          }
        },
      }
    },
  } as unknown as ClientSession
  return { session, asked }
}

function sinkOf(expected: Buffer | undefined, wants: (path: string) => boolean): FileSink & { readonly paths: string[]; readonly contents: Map<number, string>; list: Buffer | undefined | 'open' } {
  const paths: string[] = []
  const contents = new Map<number, string>()
  return {
    expected, paths, contents, list: 'open',
    listed(bytes) {
      this.list = bytes
    },
    stat(_, raw) {
      const { path } = readStat(raw)
      paths.push(path)
      return wants(path)
    },
    data: (id, chunk) => void contents.set(id, (contents.get(id) ?? '') + Buffer.from(chunk).toString()),
    end: () => undefined,
  }
}

const REQUEST = { directory: 'context', exclude: [], follow: [] }
const signal = new AbortController().signal

describe('the wire of clients', () => {
  it('frames come in any pieces; what is too large or compressed is refused', () => {
    const all = Buffer.concat([framed(Buffer.from('one')), framed(Buffer.alloc(0)), framed(Buffer.alloc(70_000, 'x'))])
    for (const size of [1, 4, 5, 6, 1000, all.length]) {
      const read = frameReader()
      const messages: Buffer[] = []
      for (let at = 0; at < all.length; at += size) messages.push(...read(all.subarray(at, at + size)))
      assert.deepEqual(messages.map((message) => message.length), [3, 0, 70_000], `pieces of ${size}`)
    }
    assert.throws(() => frameReader()(Buffer.from([0, 0xff, 0xff, 0xff, 0xff])), /expected at most/)
    assert.throws(() => frameReader()(Buffer.from([1, 0, 0, 0, 0])), /compressed/)
  })
  it('properties of files and messages come back as they were', () => {
    const all = [stat('a/\xff', { mode: GO_MODE.directory + 0o755, size: 0 }), stat('l', { linkname: '../x', mode: GO_MODE.link + 0o777, uid: 5, gid: 6 }), stat('x', { xattrs: new Map([['user.a', Buffer.from([0, 1])]]), size: 2 ** 40, modTime: -1n })]
    assert.deepEqual(all.map((one) => readStat(writeStat(one))), all)
    assert.deepEqual(Buffer.from(readBytesMessage(bytesMessage(Buffer.from('bytes')))).toString(), 'bytes')
    const solve = decode<{ readonly FrontendAttrs: object; readonly Exporters: readonly { readonly Attrs: object }[] }>('moby.buildkit.v1.SolveRequest', encode('moby.buildkit.v1.SolveRequest', { Ref: 'r', FrontendAttrs: { target: 'x' }, Exporters: [{ Type: 'image', Attrs: { name: 'n' } }] }))
    assert.deepEqual([solve.FrontendAttrs, solve.Exporters[0]?.Attrs], [{ target: 'x' }, { name: 'n' }])
    assert.equal(serviceNamed('moby.buildkit.v1.Control').methods.length, 9)
  })
  it('files: those that are wanted are asked for; a list that comes as before is not read', async () => {
    const list = listed('a', 'b', 'c')
    const content = (id: number): readonly Uint8Array[] => [packet(PACKET.data, { id, data: Buffer.from(`${id}`) }), packet(PACKET.data, { id, data: Buffer.from('!') }), packet(PACKET.data, { id })]
    const first = clientOf(list, content)
    const one = sinkOf(undefined, (path) => path !== 'b')
    await receiveFiles(first.session, REQUEST, one, signal)
    assert.deepEqual([one.paths, first.asked, [...one.contents]], [['a', 'b', 'c'], [0, 2], [[0, '0!'], [2, '2!']]])
    assert.ok(Buffer.isBuffer(one.list) && one.list.equals(list))
    const again = clientOf(list, content)
    const two = sinkOf(list, () => true)
    await receiveFiles(again.session, REQUEST, two, signal)
    assert.deepEqual([two.paths, again.asked, two.list], [[], [], undefined])
    // One more at the end, one changed in the middle, and one less.
    for (const paths of [['a', 'b', 'c', 'd'], ['a', 'x', 'c'], ['a', 'b']]) {
      const other = clientOf(listed(...paths), content)
      const sink = sinkOf(list, () => false)
      await receiveFiles(other.session, REQUEST, sink, signal)
      assert.deepEqual(sink.paths, paths)
    }
  })
  it('what nobody has asked for, and what is no message, is refused', async () => {
    const bad = [
      Buffer.concat([listed('a'), framed(packet(PACKET.data, { id: 7, data: Buffer.from('x') }))]),
      framed(packet(PACKET.error, { data: Buffer.from('no such directory') })),
      framed(Buffer.from([0x12, 0xff, 0xff])),
      framed(packet(9)),
    ]
    for (const first of bad) await assert.rejects(receiveFiles(clientOf(first, () => []).session, REQUEST, sinkOf(undefined, () => false), signal), (error) => error instanceof EngineError && error.kind === 'invalid')
  })
  it('survives what is no message (fuzz, seeded)', () => {
    let seed = 7
    const next = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31)
    const whole = Buffer.from(packet(PACKET.stat, { stat: writeStat(stat('some/path', { xattrs: new Map([['user.x', Buffer.from('y')]]) })) }))
    for (let round = 0; round < 5000; round++) {
      const bytes = Buffer.from(whole.subarray(0, 1 + (next() % whole.length)))
      for (let flips = next() % 4; flips > 0; flips--) bytes[next() % bytes.length] = next() & 0xff
      try {
        const { stat: raw } = readPacket(bytes)
        if (raw !== undefined) readStat(raw)
      } catch (error) {
        assert.ok(isEngineError(error), String(error))
      }
    }
  })
})
