import type { EventMessage } from '@gantry/api'
import type { JobView } from '../engine/job.ts'
import type { Filters } from '../server/filters.ts'

/** What the engine can do with volumes and itself. */
export interface SystemJobs {
  'volume.list': { input: { readonly filters: Filters }; output: readonly unknown[] }
  'volume.create': { input: { readonly name: string; readonly driver: string; readonly labels: Readonly<Record<string, string>>; readonly options: Readonly<Record<string, string>> }; output: unknown }
  'volume.inspect': { input: { readonly name: string }; output: unknown }
  /** Ours: Docker cannot rename volumes. */
  'volume.rename': { input: { readonly name: string; readonly to: string }; output: undefined }
  /** Ours: a volume's files as a tar stream to stdio.write; and from stdio.input into a volume. `onReady` is called once it is there. */
  'volume.export': { input: { readonly name: string; readonly onReady: () => void }; output: undefined }
  'volume.import': { input: { readonly name: string }; output: undefined }
  'volume.remove': { input: { readonly name: string; readonly force: boolean }; output: undefined }
  'volume.prune': { input: { readonly filters: Filters }; output: { readonly removed: readonly string[]; readonly bytes: number } }
  'system.info': { input: Record<never, never>; output: unknown }
  'system.version': { input: Record<never, never>; output: unknown }
  /** Calls `onEvent` for what was and for what comes, until `until` or the signal. */
  'system.events': { input: { readonly since: bigint | undefined; readonly until: bigint | undefined; readonly filters: Filters; readonly onEvent: (event: EventMessage) => void }; output: undefined }
  'system.usage': { input: { readonly types: readonly string[]; readonly apiVersion: number; readonly verbose: boolean }; output: unknown }
  'system.jobs': { input: Record<never, never>; output: readonly JobView[] }
}
