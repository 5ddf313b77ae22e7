import type { Credentials } from '@gantry/registry'
import type { Filters } from '../server/filters.ts'
import type { Deleted } from '../images/images.ts'
import type { Tell } from '../images/progress.ts'

/** What the engine can do with images. */
export interface ImageJobs {
  'image.list': { input: { readonly all: boolean; readonly filters: Filters }; output: readonly unknown[] }
  'image.inspect': { input: { readonly name: string; readonly apiVersion: number; readonly platform: string }; output: unknown }
  'image.history': { input: { readonly name: string; readonly platform: string }; output: readonly unknown[] }
  'image.tag': { input: { readonly name: string; readonly repository: string; readonly tag: string }; output: undefined }
  'image.remove': { input: { readonly name: string; readonly force: boolean; /** Untagged images that it was made from stay. */ readonly keepParents: boolean; readonly platforms: readonly string[] }; output: readonly Deleted[] }
  /** A tar stream from stdio.input, or from an URL, as an image of one layer. `total`: its bytes, 0 where nobody knows. */
  'image.import': { input: { readonly url: string; readonly repository: string; readonly tag: string; readonly message: string; readonly changes: readonly string[]; readonly platform: string; readonly total: number; readonly tell: Tell }; output: { readonly id: string } }
  /** An archive from stdio.input; what was loaded, for people. */
  'image.load': { input: { readonly platform: string; readonly total: number; readonly tell: Tell }; output: { readonly lines: readonly string[] } }
  /** An archive to stdio.write. `onReady` is called once all names are known to be there. */
  'image.save': { input: { readonly names: readonly string[]; readonly platform: string; readonly onReady: () => void }; output: undefined }
  /** The OCI manifest of an image as its layers lie in the store: plain archives. */
  'image.manifest': { input: { readonly name: string }; output: Buffer }
  /** `length` bytes of a configuration or of a layer's archive to stdio.write; `onSize` is called before, with the bytes of the whole. */
  'image.blob': { input: { readonly digest: string; readonly start: number; readonly length: number; readonly onSize: (bytes: number) => void }; output: undefined }
  /** From a registry. `tell` gets what people are shown. */
  'image.pull': { input: { readonly name: string; readonly tag: string; readonly platform: string; readonly credentials: Credentials; readonly tell: Tell }; output: undefined }
  'image.push': { input: { readonly name: string; readonly tag: string; readonly platform: string; readonly credentials: Credentials; readonly tell: Tell }; output: undefined }
  'image.search': { input: { readonly term: string; readonly limit: number; readonly filters: Filters; readonly credentials: Credentials }; output: readonly unknown[] }
  /** What a registry says of a name, without pulling it. */
  'image.distribution': { input: { readonly name: string; readonly credentials: Credentials }; output: unknown }
  /** Asks a registry whether it knows somebody. */
  'registry.login': { input: { readonly address: string; readonly credentials: Credentials }; output: { readonly status: string } }
  'image.prune': { input: { readonly filters: Filters }; output: { readonly deleted: readonly Deleted[]; readonly bytes: number } }
}
