import { EngineError } from '@gantry/std'
import type { Container } from '../container.ts'
import type { ContainerDocument } from '../record.ts'
import { etcDirectory } from '../spec/etc-files.ts'
import type { ContainerStore } from '../store.ts'

const CHAIN_LIMIT = 16

/** Whose name, hosts and resolv.conf a container has: those of the one whose network it shares, as long as that is there. */
export function networkOwner(store: Pick<ContainerStore, 'find'>, container: Container): Container {
  let owner = container
  try {
    for (let n = 0; n < CHAIN_LIMIT && owner.document.networkMode.startsWith('container:'); n++) owner = store.find(owner.document.networkMode.slice('container:'.length))
  } catch (error) {
    if (!(error instanceof EngineError) || error.kind !== 'not-found') throw error
  }
  return owner
}

/** The document with the name that the container goes by inside, and where its hosts, hostname and resolv.conf are. */
export function withSharedName(ports: { readonly store: Pick<ContainerStore, 'find'>; readonly execRoot: string }, container: Container): { readonly document: ContainerDocument; readonly etcDirectory: string } {
  const owner = networkOwner(ports.store, container)
  const { Hostname, Domainname } = owner.document.config
  return { document: owner === container ? container.document : { ...container.document, config: { ...container.document.config, Hostname, Domainname } }, etcDirectory: etcDirectory(ports.execRoot, owner.id) }
}
