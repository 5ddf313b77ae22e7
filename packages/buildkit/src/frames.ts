import { EngineError } from '@gantry/std'

/** Bytes before each message: a flag for compression, and the length (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const HEAD = 5
/** No message of the protocol is larger: files come in pieces of 32 KiB. */
const LIMIT = 16 << 20

/** A message with its length before it. */
export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEAD + message.length)
  frame[0] = 0
  frame.writeUInt32BE(message.length, 1)
  frame.set(message, HEAD)
  return frame
}

/** Takes bytes as they come and gives the messages that are whole. They are views into what came. */
export function frameReader(): (chunk: Buffer) => Buffer[] {
  let held: Buffer[] = []
  let bytes = 0
  let wanted = HEAD
  return (chunk) => {
    held.push(chunk)
    bytes += chunk.length
    if (bytes < wanted) return []
    const all = held.length === 1 ? chunk : Buffer.concat(held)
    const messages: Buffer[] = []
    let at = 0
    for (;;) {
      const length = at + HEAD <= all.length ? all.readUInt32BE(at + 1) : 0
      if (length > LIMIT) throw new EngineError('invalid', `a client sends a message of ${length} bytes: expected at most ${LIMIT}`)
      wanted = HEAD + length
      if (at + wanted > all.length) break
      if (all[at] !== 0) throw new EngineError('unsupported', 'a client sends compressed messages')
      messages.push(all.subarray(at + HEAD, at + wanted))
      at += wanted
    }
    held = at < all.length ? [all.subarray(at)] : []
    bytes = all.length - at
    return messages
  }
}
