import type { CreateRequest } from '../containers/create.ts'
import type { ExecRequest } from '../containers/exec.ts'
import type { Filters } from '../server/filters.ts'
import type { LogQuery } from '../logging/read.ts'
import type { PathStat } from '../containers/archive.ts'
import type { StreamChoice } from '../containers/attach.ts'
import type { Change } from '@gantry/graph'
import type { UpdateRequest } from '../containers/update.ts'
import type { KeptStep } from '../containers/record.ts'
import type { ImageRunConfig } from '@gantry/std'

/** A container named by id, name or id prefix. */
interface Key {
  readonly key: string
}
type Nothing = undefined
interface StopOptions extends Key {
  readonly timeoutSeconds?: number
  readonly signal?: string
}

/** What a wait waits for. */
export type WaitCondition = 'not-running' | 'next-exit' | 'removed'

/** What the engine can do with containers. */
export interface ContainerJobs {
  'container.list': { input: { readonly apiVersion: number; readonly all: boolean; readonly size: boolean; readonly limit: number; readonly filters: Filters }; output: readonly unknown[] }
  /** Makes a container from a local image; starts nothing. */
  'container.create': { input: CreateRequest; output: { readonly id: string; readonly warnings: readonly string[] } }
  'container.checkpoints': { input: Key & { readonly directory: string }; output: readonly { readonly Name: string }[] }
  'container.checkpoint': { input: Key & { readonly name: string; readonly directory: string; readonly exit: boolean }; output: Nothing }
  'container.remove-checkpoint': { input: Key & { readonly name: string; readonly directory: string }; output: Nothing }
  'container.inspect': { input: Key & { readonly apiVersion: number; readonly size: boolean }; output: unknown }
  /** `changed: false` when it already ran: an answer (HTTP 304), not an error. */
  /** `checkpoint` names where to go on. */
  'container.start': { input: Key & { readonly checkpoint: string; readonly checkpointDirectory: string }; output: { readonly changed: boolean } }
  'container.stop': { input: StopOptions; output: { readonly changed: boolean } }
  'container.restart': { input: StopOptions; output: Nothing }
  'container.kill': { input: Key & { readonly signal: string }; output: Nothing }
  'container.pause': { input: Key; output: Nothing }
  'container.unpause': { input: Key; output: Nothing }
  /** `onWaiting` is called once the wait cannot miss anything any more. */
  'container.wait': { input: Key & { readonly condition: WaitCondition; readonly onWaiting: () => void }; output: { readonly code: number; readonly error: string } }
  'container.remove': { input: Key & { readonly volumes: boolean; readonly force: boolean }; output: Nothing }
  /** Removes a link by its name, `consumer/alias`; the containers stay. */
  'container.unlink': { input: Key; output: Nothing }
  'container.rename': { input: Key & { readonly name: string }; output: Nothing }
  'container.resize': { input: Key & { readonly rows: number; readonly columns: number }; output: Nothing }
  'container.update': { input: Key & { readonly request: UpdateRequest }; output: { readonly warnings: readonly string[] } }
  /** One reading per line over stdio.write. */
  'container.stats': { input: Key & { readonly stream: boolean; readonly oneShot: boolean }; output: Nothing }
  'container.top': { input: Key & { readonly arguments: string }; output: { readonly titles: readonly string[]; readonly processes: readonly (readonly string[])[] } }
  /** Streams over stdio.hijack. */
  'container.attach': { input: Key & { readonly choice: StreamChoice; readonly stream: boolean; readonly logs: boolean; readonly detachKeys: string; readonly apiVersion: number }; output: Nothing }
  /** Frames over stdio.write. */
  'container.clear-log': { input: Key; output: Nothing }
  'container.logs': { input: Key & { readonly query: LogQuery; readonly stdout: boolean; readonly stderr: boolean; readonly timestamps: boolean; readonly details: boolean; readonly onReady: (tty: boolean) => void }; output: Nothing }
  'container.changes': { input: Key; output: readonly Change[] }
  'container.export': { input: Key; output: Nothing }
  'container.stat': { input: Key & { readonly path: string }; output: PathStat }
  'container.read-archive': { input: Key & { readonly path: string; readonly onStat: (stat: PathStat) => void }; output: Nothing }
  'container.write-archive': { input: Key & { readonly path: string; readonly strict: boolean; readonly copyOwner: boolean }; output: Nothing }
  'container.commit': { input: Key & { readonly repository: string; readonly tag: string; readonly author: string; readonly comment: string; readonly pause: boolean; readonly changes: readonly string[]; readonly config: ImageRunConfig }; output: { readonly id: string } }
  'container.prune': { input: { readonly filters: Filters }; output: { readonly removed: readonly string[]; readonly bytes: number } }
  /** Time points of the last start. */
  'container.trace': { input: Key; output: { readonly id: string; readonly name: string; readonly steps: readonly KeptStep[] } }
  /** The program that a start would carry out. */
  'container.explain': { input: Key; output: { readonly listing: string } }
  'exec.create': { input: Key & { readonly request: ExecRequest }; output: { readonly id: string } }
  /** Streams over stdio.hijack unless detached. */
  'exec.start': { input: { readonly id: string; readonly detach: boolean; readonly tty: boolean; readonly size: readonly [number, number]; readonly apiVersion: number }; output: Nothing }
  'exec.inspect': { input: { readonly id: string }; output: unknown }
  'exec.resize': { input: { readonly id: string; readonly rows: number; readonly columns: number }; output: Nothing }
}
