import { closeSync, fdatasync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs'
import { newId } from '@gantry/std'

/** Where a content is. */
export interface Blob {
  readonly pack: string
  readonly offset: number
  readonly size: number
}

/** Content up to this many bytes is taken whole; what is larger is written as it comes. */
export const SMALL = 1 << 20

/** Content that is being written: new files one after the other. */
export class Pack {
  readonly id = newId().slice(0, 26)
  readonly path: string
  readonly blobs = new Map<string, Blob>()
  #fd: number | undefined
  #held: Buffer[] = []
  #heldBytes = 0
  #end = 0

  constructor(home: string) {
    this.path = `${home}/${this.id}`
  }

  get end(): number {
    return this.#end
  }

  get isEmpty(): boolean {
    return this.blobs.size === 0
  }

  append(bytes: Buffer): void {
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
    this.#end += bytes.length
    if (this.#heldBytes >= SMALL) this.flush()
  }

  /** Room for a large content; gives its place. */
  reserve(size: number): number {
    this.flush()
    const offset = this.#end
    this.#end += size
    return offset
  }

  writeAt(offset: number, bytes: Uint8Array): void {
    const fd = this.#open()
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, offset + at)
  }

  flush(): void {
    if (this.#heldBytes === 0) return
    const all = Buffer.concat(this.#held)
    this.writeAt(this.#end - this.#heldBytes, all)
    this.#held = []
    this.#heldBytes = 0
  }

  /** Takes back what was written from there on. */
  rewind(offset: number): void {
    this.flush()
    if (this.#fd !== undefined) ftruncateSync(this.#fd, offset)
    this.#end = offset
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  /** Closes it and takes its file away, where it has one. */
  remove(): void {
    this.close()
    rmSync(this.path, { force: true })
  }

  /** Waits until it is on the disk. */
  async sync(): Promise<void> {
    this.flush()
    const fd = this.#fd
    if (fd !== undefined) await new Promise<void>((resolve, reject) => fdatasync(fd, (error) => (error === null ? resolve() : reject(error))))
  }

  #open(): number {
    this.#fd ??= openSync(this.path, 'wx+', 0o600)
    return this.#fd
  }
}
