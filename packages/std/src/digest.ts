import type { Hash } from 'node:crypto'

const DIGEST = /^sha256:[0-9a-f]{64}$/

/** True for `sha256:` and 64 lower-case hexadecimal digits (image-spec, descriptor, "Digests"). */
export function isDigest(text: string): boolean {
  return DIGEST.test(text)
}

/** The digest of bytes or text. */
export function digestOf(content: Uint8Array | string): string {
  return `sha256:${process.getBuiltinModule('node:crypto').hash('sha256', content, 'hex')}`
}

/** Passes chunks on and gives their digest and length at the end. */
export interface Digester {
  update(chunk: Uint8Array): void
  readonly bytes: number
  digest(): string
}

/** Makes a digester. */
export function digester(): Digester {
  const hash: Hash = process.getBuiltinModule('node:crypto').createHash('sha256')
  let bytes = 0
  return {
    update(chunk) {
      bytes += chunk.length
      hash.update(chunk)
    },
    get bytes() {
      return bytes
    },
    digest: () => `sha256:${hash.digest('hex')}`,
  }
}
