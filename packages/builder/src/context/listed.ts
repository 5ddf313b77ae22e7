import { digestOf, EngineError } from '@gantry/std'
import { MAX_FILES } from './archive.ts'
import { SMALL } from './pack.ts'
import type { BuildContext, KnownContents, LargeContent, Shelf } from './shelf.ts'
import { type ContextNode, contextTree, type ContextTree } from './tree.ts'

/** A file that somebody else has, by its properties. */
export interface ListedFile {
  readonly path: string
  /** Without the digest of its content. */
  readonly node: ContextNode
  /** It is another name of the file that is there, and came before; undefined: it is its own. */
  readonly same: string | undefined
}

/** What was listed the last time, and what it came to. */
export interface Remembered {
  /** The list in bytes, as it came. */
  readonly list: Buffer
  readonly tree: ContextTree
  readonly contents: KnownContents
}

/** Takes a list of files, and then the content of those that are not known. */
export interface ListedIntake {
  /** The list that came from there the last time, in bytes. */
  readonly expected: Buffer | undefined
  /** The list is complete; undefined: it is the expected one. */
  listed(bytes: Buffer | undefined): void
  /** The next file's properties; true: its content is to be sent. The bytes are a view. */
  stat(id: number, raw: Uint8Array): boolean
  data(id: number, chunk: Uint8Array): void
  end(id: number): void
  /** Nothing more comes. */
  finish(): BuildContext
  abandon(): void
  /** How many bytes of content came. */
  readonly bytes: number
}

interface Pending {
  readonly file: ListedFile
  readonly small: Buffer[]
  bytes: number
  readonly large: LargeContent | undefined
}

const MAX_REMEMBERED_BYTES = 32 << 20

/** True for a file that has not been touched since its content came. */
function unchanged(node: ContextNode, before: ContextNode | undefined): boolean {
  return before?.type === 'file' && before.size === node.size && before.mtimeSeconds === node.mtimeSeconds && before.mtimeNanos === node.mtimeNanos && before.mode === node.mode
}

/** Opens an intake. `read` makes a file of its properties, undefined: it is of no kind that a context has. */
export function openListedIntake(shelf: Shelf, before: Remembered | undefined, read: (raw: Uint8Array) => ListedFile | undefined, remember: (made: Remembered) => void): ListedIntake {
  let bytes = 0
  /** Undefined: as it was. */
  let list: Buffer | undefined
  const files: (ListedFile | undefined)[] = []
  const digests = new Map<number, { readonly digest: string; readonly size: number }>()
  const pending = new Map<number, Pending>()
  const wants = (id: number, file: ListedFile | undefined): boolean => {
    if (file === undefined || file.node.type !== 'file' || file.same !== undefined) return false
    const old = before?.tree.get(file.path)
    if (old !== undefined && unchanged(file.node, old) && shelf.has(old.digest)) {
      digests.set(id, { digest: old.digest, size: old.size })
      return false
    }
    pending.set(id, { file, small: [], bytes: 0, large: file.node.size > SMALL ? shelf.large(file.node.size) : undefined })
    return true
  }
  const treeOf = (): ContextTree => {
    const nodes = new Map<string, ContextNode>()
    for (const [id, file] of files.entries()) {
      if (file === undefined) continue
      const node = file.same === undefined ? { ...file.node, ...digests.get(id) } : nodes.get(file.same)
      if (node !== undefined) nodes.set(file.path, node)
    }
    return contextTree(nodes)
  }
  return {
    get bytes() {
      return bytes
    },
    expected: before?.list,
    listed(came) {
      list = came
    },
    stat(id, raw) {
      if (files.length >= MAX_FILES) throw new EngineError('invalid', `the context has more than ${MAX_FILES} files`)
      const file = read(raw)
      files.push(file)
      return wants(id, file)
    },
    data(id, chunk) {
      const one = pending.get(id)
      if (one === undefined) throw new EngineError('invalid', `content of file ${id}, which nobody has asked for`)
      one.bytes += chunk.length
      bytes += chunk.length
      if (one.large !== undefined) return one.large.write(chunk)
      if (one.bytes > SMALL) throw new EngineError('invalid', `${one.file.path} has grown while it was sent`)
      one.small.push(Buffer.from(chunk))
    },
    end(id) {
      const one = pending.get(id)
      if (one === undefined) throw new EngineError('invalid', `the end of file ${id}, which nobody has asked for`)
      pending.delete(id)
      if (one.large !== undefined) return void digests.set(id, one.large.end())
      const content = Buffer.concat(one.small)
      const digest = digestOf(content)
      shelf.whole(content, digest)
      digests.set(id, { digest, size: content.length })
    },
    finish() {
      if (pending.size > 0) throw new EngineError('unavailable', `the content of ${pending.size} files has not come`)
      if (before !== undefined && list === undefined) return shelf.finish(before.tree)
      const tree = treeOf()
      const context = shelf.finish(tree)
      if (list !== undefined && list.length <= MAX_REMEMBERED_BYTES) remember({ list, tree, contents: shelf.contents() })
      return context
    },
    abandon: () => shelf.abandon(),
  }
}
