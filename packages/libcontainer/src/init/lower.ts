import { MS, type ProgramBuilder } from '@gantry/linux'
import type { OciTree } from '../spec/oci.ts'

/** Mounts what the root stands on; the working directory is that of the layers. */
export function mountLower(p: ProgramBuilder, { lower }: OciTree): void {
  if (lower === undefined) return
  p.call('mount the image', 'mount', [p.text(lower.source), p.text(lower.target), p.text(lower.type), MS.RDONLY, p.text(lower.data)])
}
