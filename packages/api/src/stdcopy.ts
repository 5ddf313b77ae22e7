import { isSince } from './versions.ts'

/** Frames of an attached stream without a terminal: {u8 stream, 3 zeros, u32 length (big-endian)}, payload. */
export const STREAM = { stdin: 0, stdout: 1, stderr: 2, systemError: 3 } as const
export type StreamName = keyof typeof STREAM

/** Writes one frame. */
export function encodeStreamFrame(stream: StreamName, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(8 + payload.length)
  frame.writeUInt32BE(STREAM[stream] << 24, 0)
  frame.writeUInt32BE(payload.length, 4)
  frame.set(payload, 8)
  return frame
}

/** Takes frames apart as they come. */
export function streamFrameDecoder(onPayload: (stream: number, payload: Buffer) => void): (chunk: Buffer) => void {
  let held: Buffer = Buffer.alloc(0)
  return (chunk) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    while (held.length >= 8) {
      const length = held.readUInt32BE(4)
      if (held.length < 8 + length) return
      onPayload(held[0] ?? 0, held.subarray(8, 8 + length))
      held = held.subarray(8 + length)
    }
  }
}

const RAW = 'application/vnd.docker.raw-stream'
const MULTIPLEXED = 'application/vnd.docker.multiplexed-stream'

/** Content type of a raw stream: versions before 1.42 know only one. */
export function streamType(tty: boolean, apiVersion: number): string {
  return tty || !isSince(apiVersion, '1.42') ? RAW : MULTIPLEXED
}
