import { randomInt } from 'node:crypto'
import { type Launcher, nftables as nft, parseAnswers, ProgramError, SOCKET, syscallProgram } from '@gantry/linux'
import { logger } from '@gantry/std'
import { netfilter } from '../host.ts'
import { addMessages, buildTable, FORWARD, forwardRules, removeMessages, type TableChange } from './table.ts'
import { netlinkAddress } from './watch.ts'

const log = logger('libnetwork.firewall')
/** The launcher keeps the socket that owns the table. */
const SOCKET_SLOT = 0
const RECEIVE_BUFFER = 4 << 20
const ENOENT = 2
/** Above those that the kernel gives out for process ids. */
const PORTS = { first: 0x8000_0000, behind: 0xf000_0000 } as const

/** One table, static rules, keyed sets; a published port is one element. */
export interface Firewall {
  /** Netlink port of the socket that changes it. */
  readonly port: number
  /** Brings the table to the wanted state in one batch. */
  rebuild(state: TableChange): Promise<void>
  /** After somebody else has changed rules: the table as it has to be, if it is not. True: it was not. */
  repair(state: () => TableChange): Promise<boolean>
  add(change: TableChange): Promise<void>
  remove(change: TableChange): Promise<void>
  destroy(): Promise<void>
}

/** Makes the firewall of a daemon; nothing is changed before `rebuild`. `owned`: nobody else may change the table, where the kernel can keep them from it (6.9). */
export function createFirewall(launcher: Launcher, table: string, owned: boolean): Firewall {
  let port = 0
  let protects = owned
  const open = async (): Promise<void> => {
    // Another number each time: a child of the launcher may still have the socket that was there before.
    port = randomInt(PORTS.first, PORTS.behind)
    await launcher.inline(
      syscallProgram((p) => {
        const fd = p.register()
        const size = Buffer.alloc(4)
        size.writeUInt32LE(RECEIVE_BUFFER)
        p.call('netfilter socket', 'socket', [SOCKET.NETLINK, SOCKET.RAW | SOCKET.CLOEXEC, SOCKET.NETFILTER], { to: fd })
        p.call('under its own number', 'bind', [fd, p.bytes(netlinkAddress(port, 0)), 12])
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
  const build = (state: TableChange): Promise<void> => send('rebuild the firewall table', buildTable(table, protects ? nft.TABLE_OWNED : 0, state))
  const isWhole = async (): Promise<boolean> => {
    try {
      const output = await netfilter(launcher, 'look at our own table', nft.getRules(nft.FAMILY.inet, table, FORWARD), 'dump')
      return parseAnswers(output).filter((answer) => nft.parseRule(answer) !== undefined).length === forwardRules()
    } catch (error) {
      if (error instanceof ProgramError && error.errno === ENOENT) return false
      throw error
    }
  }
  return {
    get port() {
      return port
    },
    async rebuild(state) {
      await open()
      try {
        await build(state)
      } catch (cause) {
        if (!protects) throw cause
        // Kernels before 6.9 know no owned table that persists.
        log.info('the firewall table is not owned', { cause })
        protects = false
        await open()
        await build(state)
      }
    },
    async repair(state) {
      if (protects || (await isWhole())) return false
      await build(state())
      return true
    },
    add: (change) => send('open the firewall', addMessages(table, change)),
    remove: (change) => send('close the firewall', removeMessages(table, change)),
    destroy: () => send('remove the firewall table', [nft.newTable(table, protects ? nft.TABLE_OWNED : 0), nft.deleteTable(table)]),
  }
}

export type { FirewalledNetwork, OpenPort, PublishedPort } from './table.ts'
