/** Frames between daemon, launcher and shims: {u32 length, u32 kind, u64 id} and a body. */
export interface Frame {
  readonly kind: number
  readonly id: number
  readonly body: Buffer
}

const HEAD = 16

/** Writes a frame. Ids stay below 2^53. */
export function encodeFrame(kind: number, id: number, body: Uint8Array): Buffer {
  return Buffer.concat([encodeFrameHead(kind, id, body.length), body])
}

/** The head of a frame whose body is written behind it. */
export function encodeFrameHead(kind: number, id: number, length: number): Buffer {
  const head = Buffer.allocUnsafe(HEAD)
  head.writeUInt32LE(length, 0)
  head.writeUInt32LE(kind, 4)
  head.writeBigUInt64LE(BigInt(id), 8)
  return head
}

/** Cuts a stream of bytes into frames. */
export function frameDecoder(onFrame: (frame: Frame) => void): (chunk: Buffer) => void {
  let held: Buffer = Buffer.alloc(0)
  return (chunk) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    while (held.length >= HEAD) {
      const length = held.readUInt32LE(0)
      if (held.length < HEAD + length) return
      const frame = { kind: held.readUInt32LE(4), id: Number(held.readBigUInt64LE(8)), body: held.subarray(HEAD, HEAD + length) }
      held = held.subarray(HEAD + length)
      onFrame(frame)
    }
  }
}

let lastId = Date.now() * 1000

/** An id that no earlier daemon on this host has used. */
export function nextFrameId(): number {
  lastId += 1
  return lastId
}
