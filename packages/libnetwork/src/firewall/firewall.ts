import { type Launcher, nftables as nft, SOCKET, syscallProgram } from '@gantry/linux'
import { logger } from '@gantry/std'
import { addMessages, buildTable, removeMessages, type TableChange } from './table.ts'

const log = logger('libnetwork.firewall')
/** The launcher keeps the socket that owns the table. */
const SOCKET_SLOT = 0
const RECEIVE_BUFFER = 4 << 20

/** One table, static rules, keyed sets; a published port is one element. */
export interface Firewall {
  /** Brings the table to the wanted state in one batch. */
  rebuild(state: TableChange): Promise<void>
  add(change: TableChange): Promise<void>
  remove(change: TableChange): Promise<void>
  destroy(): Promise<void>
}

/** Makes the firewall of a daemon; nothing is changed before `rebuild`. */
export function createFirewall(launcher: Launcher, table: string): Firewall {
  const open = async (): Promise<void> => {
    await launcher.inline(
      syscallProgram((p) => {
        const fd = p.register()
        const size = Buffer.alloc(4)
        size.writeUInt32LE(RECEIVE_BUFFER)
        p.call('netfilter socket', 'socket', [SOCKET.NETLINK, SOCKET.RAW | SOCKET.CLOEXEC, SOCKET.NETFILTER], { to: fd })
        p.call('room for large batches', 'setsockopt', [fd, 1, 32, p.bytes(size), 4], { ignore: true })
        p.call('ask for the kernel’s reasons', 'setsockopt', [fd, 270, 11, p.bytes(Buffer.from([1, 0, 0, 0])), 4], { ignore: true })
        p.op('keep it', 'keep', [SOCKET_SLOT, fd])
      }),
    )
  }
  const send = async (what: string, messages: readonly Buffer[]): Promise<void> => {
    if (messages.length === 0) return
    const { bytes, acks } = nft.nftBatch(messages)
    await launcher.inline(
      syscallProgram((p) => {
        const fd = p.register()
        p.op('the netfilter socket', 'kept', [SOCKET_SLOT], { to: fd })
        p.op(what, 'netlink', [fd, p.bytes(bytes), bytes.length, acks])
      }),
    )
  }
  return {
    async rebuild(state) {
      await open()
      try {
        await send('rebuild the firewall table', buildTable(table, nft.TABLE_OWNED, state))
      } catch (cause) {
        // Kernels before 6.9 know no owned table that persists.
        log.info('the firewall table is not owned', { cause })
        await open()
        await send('rebuild the firewall table', buildTable(table, 0, state))
      }
    },
    add: (change) => send('open the firewall', addMessages(table, change)),
    remove: (change) => send('close the firewall', removeMessages(table, change)),
    destroy: () => send('remove the firewall table', [nft.newTable(table, nft.TABLE_OWNED), nft.deleteTable(table)]),
  }
}

export type { OpenPort, PublishedPort } from './table.ts'
export { createHostChain, type HostChain } from './host-chain.ts'
