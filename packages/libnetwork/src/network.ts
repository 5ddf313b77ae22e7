import type { NetlinkBatch } from '@gantry/linux'
import type { PortRequest } from './port-allocator.ts'

/** A network as `network inspect` shows it. */
export interface NetworkInfo {
  readonly id: string
  readonly name: string
  readonly driver: 'bridge' | 'host' | 'null'
  readonly createdAt: number
  readonly ipam: { readonly subnet: string; readonly gateway: string } | undefined
  readonly options: Readonly<Record<string, string>>
}

/** A published port as it came out. */
export interface Binding {
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  readonly port: number
  readonly hostIp: string
  readonly hostPort: number
}

/** One container on one network. */
export interface EndpointInfo {
  readonly id: string
  readonly networkId: string
  readonly networkName: string
  readonly containerId: string
  readonly address: string
  readonly prefix: number
  readonly gateway: string
  readonly mac: string
  readonly bindings: readonly Binding[]
}

/** What a start does for the container's network: messages of the host's side, of the inside, and settings. */
export interface Attachment {
  readonly host: readonly NetlinkBatch[]
  readonly inside: readonly NetlinkBatch[]
  readonly sysctls: readonly (readonly [string, string])[]
}

/** A container's network namespace in the making. */
export interface Sandbox {
  readonly attachment: Attachment
  readonly endpoints: readonly EndpointInfo[]
  /** Takes everything back: ports, addresses, firewall elements. May run twice. */
  release(): Promise<void>
}

/** What a container wants of its network. */
export interface JoinRequest {
  readonly containerId: string
  readonly network: string
  readonly ports: readonly PortRequest[]
}
