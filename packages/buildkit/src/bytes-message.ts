import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'

/** A message that is nothing but bytes (`BytesMessage` of several packages). */
export function bytesMessage(data: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(data).finish()
}

/** Its bytes: a view. */
export function readBytesMessage(message: Uint8Array): Uint8Array {
  const reader = new BinaryReader(message)
  let data: Uint8Array = new Uint8Array()
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag()
    if (field === 1) data = reader.bytes()
    else reader.skip(wire, field)
  }
  return data
}
