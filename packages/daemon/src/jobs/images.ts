import type { Filters } from '../server/filters.ts'
import type { Deleted } from '../images/images.ts'

/** What the engine can do with images. */
export interface ImageJobs {
  'image.list': { input: { readonly all: boolean; readonly filters: Filters }; output: readonly unknown[] }
  'image.inspect': { input: { readonly name: string; readonly apiVersion: number }; output: unknown }
  'image.history': { input: { readonly name: string }; output: readonly unknown[] }
  'image.tag': { input: { readonly name: string; readonly repository: string; readonly tag: string }; output: undefined }
  'image.remove': { input: { readonly name: string; readonly force: boolean }; output: readonly Deleted[] }
  /** A tar stream from stdio.input as an image of one layer. */
  'image.import': { input: { readonly repository: string; readonly tag: string; readonly message: string; readonly changes: readonly string[] }; output: { readonly id: string } }
  /** An archive from stdio.input; what was loaded, for people. */
  'image.load': { input: Record<never, never>; output: { readonly lines: readonly string[] } }
  /** An archive to stdio.write. `onReady` is called once all names are known to be there. */
  'image.save': { input: { readonly names: readonly string[]; readonly onReady: () => void }; output: undefined }
  'image.prune': { input: { readonly filters: Filters }; output: { readonly deleted: readonly Deleted[]; readonly bytes: number } }
}
