import { type Launcher, nftables as nft, parseAnswers, ProgramError } from '@gantry/linux'
import { keyedLock, logger } from '@gantry/std'
import { netfilter } from '../host.ts'

const log = logger('libnetwork.host-chain')
/** A chain of nftables. */
interface Place {
  readonly family: number
  readonly table: string
  readonly chain: string
}

/** Where hosts drop what is forwarded: ufw, dockerd and iptables by hand, and firewalld. What their chain drops our own cannot accept: a drop is final, an accept is not. */
const PLACES: readonly Place[] = [
  { family: nft.FAMILY.ipv4, table: 'filter', chain: 'FORWARD' },
  { family: nft.FAMILY.ipv6, table: 'filter', chain: 'FORWARD' },
  { family: nft.FAMILY.inet, table: 'firewalld', chain: 'filter_FORWARD' },
]
const [EPERM, ENOENT] = [1, 2]

/** Lets what our table accepts pass chains of the host: two rules a bridge at their heads. What our table drops stays dropped. */
export interface HostChain {
  open(bridge: string): Promise<void>
  close(bridge: string): Promise<void>
  /** Somebody may make such a chain while we run, as a dockerd does when it starts, or make it anew, as firewalld does. */
  look(): Promise<void>
}

/** Makes it; without the chain there is nothing to do. */
export function createHostChain(launcher: Launcher, owner: string): HostChain {
  const bridges = new Set<string>()
  const commentOf = (bridge: string): string => `${owner}: ${bridge}`
  const request = async (what: string, bytes: Buffer, acks: number | 'dump'): Promise<Buffer | undefined> => {
    try {
      return await netfilter(launcher, what, bytes, acks)
    } catch (error) {
      if (error instanceof ProgramError && error.errno === ENOENT) return undefined
      throw error
    }
  }
  const refused = new Set<string>()
  const rulesOf = async ({ family, table, chain }: Place): Promise<readonly { readonly handle: bigint; readonly comment: string }[] | undefined> => {
    const output = await request('look at a forward chain of the host', nft.getRules(family, table, chain), 'dump')
    return output === undefined ? undefined : parseAnswers(output).flatMap((answer) => nft.parseRule(answer) ?? [])
  }
  const change = async ({ table }: Place, what: string, messages: readonly Buffer[]): Promise<void> => {
    if (messages.length === 0) return
    const { bytes, acks } = nft.nftBatch(messages)
    try {
      await request(what, bytes, acks)
    } catch (error) {
      if (!(error instanceof ProgramError) || error.errno !== EPERM) throw error
      if (!refused.has(table)) log.warn('the host keeps its firewall for itself: containers are reached as far as it lets them; put the bridges into a zone that accepts', { table, bridges: [...bridges] })
      refused.add(table)
    }
  }
  const openIn = async (place: Place, wanted: readonly string[]): Promise<void> => {
    const { family, table, chain } = place
    const rules = await rulesOf(place)
    if (rules === undefined) return
    const missing = wanted.filter((bridge) => !rules.some((rule) => rule.comment === commentOf(bridge)))
    await change(place, 'let bridges pass', missing.flatMap((bridge) => (['iifname', 'oifname'] as const).map((side) => nft.insertRule(family, table, chain, [nft.meta(side), nft.compare(nft.interfaceKey(bridge)), nft.verdict('accept')], commentOf(bridge)))))
  }
  // A pass reads a chain, then adds what it lacks: two passes at once would add it twice.
  const inTurn = keyedLock()
  const look = (): Promise<void> =>
    inTurn.run('chains', async () => {
      for (const place of PLACES) await openIn(place, [...bridges])
    })
  return {
    async open(bridge) {
      bridges.add(bridge)
      await look()
    },
    async close(bridge) {
      bridges.delete(bridge)
      await inTurn.run('chains', async () => {
        for (const place of PLACES) {
          const rules = (await rulesOf(place)) ?? []
          await change(place, 'take a bridge out', rules.filter((rule) => rule.comment === commentOf(bridge)).map((rule) => nft.deleteRule(place.family, place.table, place.chain, rule.handle)))
        }
      })
    },
    look,
  }
}
