import { existsSync, readFileSync } from 'node:fs'
import type { Launcher } from '@gantry/linux'
import { logger } from '@gantry/std'
import { createFirewall, type Firewall } from './firewall.ts'
import { createHostChain } from './host-chain.ts'
import type { FirewalledNetwork, TableChange } from './table.ts'
import { watchRules } from './watch.ts'

const log = logger('libnetwork.guard')

/** What guards all networks: our table, the way through the host's own chains, and an eye on both. */
export interface Guard {
  /** undefined: no firewall at all. */
  readonly firewall: Firewall | undefined
  /** Brings everything to the wanted state. */
  build(): Promise<void>
  admit(network: FirewalledNetwork): Promise<void>
  dismiss(network: FirewalledNetwork): Promise<void>
  /** Looks no more. */
  close(): void
  destroy(networks: readonly FirewalledNetwork[]): Promise<void>
}

/** How it guards. */
export interface GuardOptions {
  readonly launcher: Launcher
  readonly table: string
  /** false: not at all (`--iptables=false`). */
  readonly firewall: boolean
  /** Nobody else may change our table, where the kernel can keep them from it. */
  readonly ownTable: boolean
  /** Rules of ours go into no chain of the host. */
  readonly respectHost: boolean
}

/** Whether somebody filters with the tables that came before nftables. */
function hasLegacyRules(): boolean {
  return ['/proc/net/ip_tables_names', '/proc/net/ip6_tables_names'].some((names) => existsSync(names) && readFileSync(names, 'utf8').split('\n').includes('filter'))
}

/** Makes it; `state` is what the table has to hold at the moment. */
export function createGuard({ launcher, table, firewall: wanted, ownTable, respectHost }: GuardOptions, state: () => TableChange): Guard {
  if (!wanted) return { firewall: undefined, build: async () => undefined, admit: async () => undefined, dismiss: async () => undefined, close: () => undefined, destroy: async () => undefined }
  const firewall = createFirewall(launcher, table, ownTable)
  const hostChain = createHostChain(launcher, table)
  let watch: Disposable | undefined
  const changed = async (): Promise<void> => {
    if (await firewall.repair(state)) log.warn('somebody has taken our rules away: they are back', { table })
    if (!respectHost) await hostChain.look()
  }
  const build = async (): Promise<void> => {
    await firewall.rebuild(state())
    watch ??= watchRules(launcher, () => firewall.port, changed)
    if (hasLegacyRules()) log.warn('the host has a filter table of iptables-legacy, too: what that drops stays dropped')
    // One that did not respect the host may have left rules there.
    for (const { bridge } of state().networks ?? []) await (respectHost ? hostChain.close(bridge) : hostChain.open(bridge))
  }
  return {
    firewall, build,
    async admit(network) {
      // A daemon without a bridge has no table before its first network.
      if (watch === undefined) return build()
      await firewall.add({ networks: [network] })
      if (!respectHost) await hostChain.open(network.bridge)
    },
    async dismiss(network) {
      await firewall.remove({ networks: [network] })
      await hostChain.close(network.bridge)
    },
    close: () => watch?.[Symbol.dispose](),
    async destroy(networks) {
      await firewall.destroy()
      for (const { bridge } of networks) await hostChain.close(bridge)
    },
  }
}
