import type { EndpointRequest, NetworkRequest } from '@gantry/libnetwork'
import type { Filters } from '../server/filters.ts'

/** What the engine can do with networks. */
export interface NetworkJobs {
  'network.list': { input: { readonly apiVersion: number; readonly filters: Filters }; output: readonly unknown[] }
  'network.inspect': { input: { readonly key: string; readonly apiVersion: number }; output: unknown }
  'network.create': { input: { readonly request: NetworkRequest }; output: { readonly id: string } }
  'network.remove': { input: { readonly key: string }; output: undefined }
  /** Ours: Docker cannot rename networks. */
  'network.rename': { input: { readonly key: string; readonly name: string }; output: undefined }
  'network.prune': { input: { readonly filters: Filters }; output: { readonly removed: readonly string[] } }
  'network.connect': { input: { readonly key: string; readonly container: string; readonly request: EndpointRequest }; output: undefined }
  /** Ours: whether `from` (a container, `host` or `outside`) reaches a port of a container, and which rule decides. */
  'network.why': { input: { readonly from: string; readonly to: string; readonly port: number; readonly protocol: string }; output: { readonly reaches: boolean; readonly reasons: readonly string[] } }
  'network.disconnect': { input: { readonly key: string; readonly container: string; readonly force: boolean }; output: undefined }
}
