import { type Launcher, nftables as nft, parseAnswers, ProgramError } from '@gantry/linux'
import { logger, messageOf } from '@gantry/std'
import { netfilter } from '../host.ts'

const log = logger('libnetwork.host-chain')
/** Where hosts (ufw, dockerd, iptables by hand) drop what is forwarded. What their chain drops our own cannot accept: a drop is final, an accept is not. */
const [TABLE, CHAIN] = ['filter', 'FORWARD']
const FAMILIES = [nft.FAMILY.ipv4, nft.FAMILY.ipv6] as const
const ENOENT = 2
/** Somebody may make that chain while we run, as a dockerd does when it starts. */
const LOOK_MS = 5000

/** Lets what our table accepts pass a chain of the host: two rules a bridge at its head. What our table drops stays dropped. */
export interface HostChain extends Disposable {
  open(bridge: string): Promise<void>
  close(bridge: string): Promise<void>
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
  const rulesOf = async (family: number): Promise<readonly { readonly handle: bigint; readonly comment: string }[] | undefined> => {
    const output = await request('look at the host’s forward chain', nft.getRules(family, TABLE, CHAIN), 'dump')
    return output === undefined ? undefined : parseAnswers(output).flatMap((answer) => nft.parseRule(answer) ?? [])
  }
  const change = async (what: string, messages: readonly Buffer[]): Promise<void> => {
    if (messages.length === 0) return
    const { bytes, acks } = nft.nftBatch(messages)
    await request(what, bytes, acks)
  }
  const openIn = async (family: number, wanted: readonly string[]): Promise<void> => {
    const rules = await rulesOf(family)
    if (rules === undefined) return
    const missing = wanted.filter((bridge) => !rules.some((rule) => rule.comment === commentOf(bridge)))
    await change('let bridges pass', missing.flatMap((bridge) => (['iifname', 'oifname'] as const).map((side) => nft.insertRule(family, TABLE, CHAIN, [nft.meta(side), nft.compare(nft.interfaceKey(bridge)), nft.verdict('accept')], commentOf(bridge)))))
  }
  const look = async (): Promise<void> => {
    for (const family of FAMILIES) await openIn(family, [...bridges])
  }
  const timer = setInterval(() => void look().catch((cause: unknown) => log.warn('cannot look at the host’s forward chain', { reason: messageOf(cause) })), LOOK_MS).unref()
  return {
    async open(bridge) {
      bridges.add(bridge)
      await look()
    },
    async close(bridge) {
      bridges.delete(bridge)
      for (const family of FAMILIES) {
        const rules = (await rulesOf(family)) ?? []
        await change('take a bridge out', rules.filter((rule) => rule.comment === commentOf(bridge)).map((rule) => nft.deleteRule(family, TABLE, CHAIN, rule.handle)))
      }
    },
    [Symbol.dispose]: () => clearInterval(timer),
  }
}
