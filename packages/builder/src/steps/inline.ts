import { type ContextNode, contextTree } from '../context/tree.ts'
import { toBytes } from '../copy/select.ts'
import type { Instruction } from '../dockerfile/instructions.ts'
import type { Expander } from '../state.ts'
import type { Part } from './copy.ts'

type Copy = Instruction & { readonly kind: 'COPY' | 'ADD' }

const INLINE_MODE = 0o644

/** A file that the Dockerfile holds itself. */
function inlinePart(name: string, content: string): Part {
  const bytes = Buffer.from(content)
  const node: ContextNode = { type: 'file', mode: INLINE_MODE, uid: 0, gid: 0, size: bytes.length, mtimeSeconds: 0, mtimeNanos: 0, link: '', digest: 'inline', xattrs: new Map() }
  const path = toBytes(name)
  return { selected: [{ tree: contextTree(new Map([[path, node]])), path, name: path, node }], digest: [name, content], content: { kind: 'blobs', read: () => [bytes] }, keepsOwners: false }
}

/** Sources that a COPY or an ADD names, files in the Dockerfile itself apart. */
export function sourcesOf(copy: Copy, expand: Expander): { readonly sources: readonly string[]; readonly inline: readonly Part[] } {
  const heredocs = [...copy.heredocs]
  const inline: Part[] = []
  const sources: string[] = []
  for (const word of copy.sources) {
    const heredoc = /^\d*<<-?/.test(word) ? heredocs.shift() : undefined
    if (heredoc === undefined) sources.push(expand.word(word))
    else inline.push(inlinePart(heredoc.name, heredoc.expand ? expand.content(heredoc.content) : heredoc.content))
  }
  return { sources, inline }
}
