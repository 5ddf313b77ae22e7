import { writeFileSync } from 'node:fs'
import { batch, errnoText, type Launcher, link, parseAnswers, ProgramError, SOCKET, syscallProgram } from '@gantry/linux'
import { EngineError, hasCode, logger, randomHex } from '@gantry/std'
import { formatIpv4, formatSubnet, ipv4Bytes, macFor, parseCidr, type Subnet } from '../address.ts'
import { type AddressPool, addressPool, freeSubnet } from '../ipam.ts'
import type { Attachment } from '../network.ts'

const log = logger('libnetwork.bridge')
/** eth0 gets a fixed index, so that its messages can be written before it exists. */
const CONTAINER_INDEX = 16
const MAX_PORTS = 1023

/** How the default bridge is set up (`--bridge`, `--bip`, `--fixed-cidr`, `--mtu`, `--icc`, `--ip-masq`). */
export interface BridgeOptions {
  readonly name: string
  /** The user named a bridge of his own: it is used as it is and never removed. */
  readonly foreign: boolean
  readonly bip: string | undefined
  readonly fixedCidr: string | undefined
  readonly mtu: number
}

/** A bridge with its addresses. */
export interface Bridge {
  readonly name: string
  readonly subnet: Subnet
  readonly gateway: number
  readonly pool: AddressPool
  readonly mtu: number
  /** The messages that give a container this address. */
  attach(address: number): Attachment & { readonly mac: string }
  remove(): Promise<void>
}

async function rtnetlink(launcher: Launcher, what: string, bytes: Buffer, acks: number, dump = false): Promise<Buffer> {
  const result = await launcher.inline(
    syscallProgram((p) => {
      const fd = p.register()
      const failed = p.label()
      p.call('netlink socket', 'socket', [SOCKET.NETLINK, SOCKET.RAW | SOCKET.CLOEXEC, SOCKET.ROUTE], { to: fd })
      p.op('on failure', 'onFail', [failed])
      if (dump) p.op(what, 'netlinkDump', [fd, p.bytes(bytes), bytes.length])
      else p.op(what, 'netlink', [fd, p.bytes(bytes), bytes.length, acks])
      p.place(failed)
      p.call('close it', 'close', [fd], { ignore: true })
    }),
  )
  return result.output
}

async function findLink(launcher: Launcher, name: string): Promise<link.LinkInfo | undefined> {
  try {
    const answers = parseAnswers(await rtnetlink(launcher, `look for ${name}`, link.getLink(name), 1, true))
    return answers.map(link.parseLink).find((info) => info !== undefined)
  } catch (error) {
    if (error instanceof ProgramError && errnoText(error.errno) === errnoText(19)) return undefined
    throw error
  }
}

interface HostAddress {
  readonly index: number
  readonly address: number
  readonly prefix: number
}

async function hostAddresses(launcher: Launcher): Promise<readonly HostAddress[]> {
  const answers = parseAnswers(await rtnetlink(launcher, 'list addresses', link.getAddresses(), 1, true))
  return answers.flatMap((answer) => {
    const found = link.parseAddress(answer)
    return found === undefined || found.address.length !== 4 ? [] : [{ index: found.index, address: found.address.readUInt32BE(0), prefix: found.prefix }]
  })
}

const subnetOf = (one: HostAddress): Subnet => ({ base: (one.address & (one.prefix === 0 ? 0 : 0xffffffff << (32 - one.prefix))) >>> 0, prefix: one.prefix })

function setting(path: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/net/${path}`, value)
  } catch (cause) {
    if (!hasCode(cause, 'ENOENT', 'EROFS', 'EACCES')) throw cause
    log.warn('cannot set', { path, value, cause })
  }
}

/** Finds or makes the bridge; an interface of that name that is not ours is an error, never removed. */
export async function openBridge(launcher: Launcher, options: BridgeOptions): Promise<Bridge> {
  const mark = `gantry bridge ${options.name}`
  let found = await findLink(launcher, options.name)
  if (found !== undefined && !options.foreign && found.alias !== mark) {
    throw new EngineError('conflict', `interface ${options.name} exists and is not ours: choose another with --bridge, or remove it`)
  }
  if (found === undefined && options.foreign && options.bip === undefined) log.info('the named bridge does not exist and is made', { name: options.name })
  const addresses = await hostAddresses(launcher)
  const existing = found === undefined ? undefined : addresses.find((one) => one.index === found?.index)
  const wanted = options.bip === undefined ? undefined : parseCidr(options.bip, '--bip')
  const plan = wanted ?? (existing === undefined ? undefined : { address: existing.address, subnet: subnetOf(existing) }) ?? defaultPlan(addresses)
  if (found === undefined) {
    await rtnetlink(launcher, `make bridge ${options.name}`, Buffer.concat([link.createBridge({ name: options.name, mac: macFor(plan.address), mtu: options.mtu }), link.setAlias(options.name, mark)]), 2)
    found = await findLink(launcher, options.name)
  }
  if (found === undefined) throw new EngineError('internal', `bridge ${options.name} has vanished`)
  const { index } = found
  if (existing?.address !== plan.address) await rtnetlink(launcher, `address of ${options.name}`, link.addAddress(index, ipv4Bytes(plan.address), plan.subnet.prefix, { mayExist: true }), 1)
  if (!found.up) await rtnetlink(launcher, `${options.name} up`, link.setLinkUp(index), 1)
  const range = options.fixedCidr === undefined ? plan.subnet : parseCidr(options.fixedCidr, '--fixed-cidr').subnet
  const pool = addressPool(plan.subnet, [plan.address], range)
  const tag = randomHex(2)
  // Far above what the kernel hands out by itself, and not where another daemon began.
  let nextIndex = (1 << 20) + (Number.parseInt(randomHex(3), 16) << 4)
  return {
    name: options.name,
    subnet: plan.subnet,
    gateway: plan.address,
    pool,
    mtu: options.mtu,
    attach(address) {
      if (pool.used > MAX_PORTS) throw new EngineError('unavailable', `network has ${MAX_PORTS} containers, the most that a bridge of this kernel holds`)
      const veth = `gv${tag}${randomHex(4)}`
      const mac = macFor(address)
      const created = link.createVeth({ name: veth, index: nextIndex++, master: index, mtu: options.mtu, peer: { name: 'eth0', mac, index: CONTAINER_INDEX } })
      const port = link.setBridgePort(veth, { hairpin: true, isolated: false })
      return {
        mac,
        host: [{ ...batch(`veth ${formatIpv4(address)} on ${options.name}`, [created.bytes, port]), pidAt: [created.pidAt] }],
        inside: [
          batch(`eth0 with ${formatIpv4(address)}/${plan.subnet.prefix}`, [
            link.setLinkUp(1),
            link.setLinkUp(CONTAINER_INDEX),
            link.addAddress(CONTAINER_INDEX, ipv4Bytes(address), plan.subnet.prefix),
            link.addDefaultRoute(CONTAINER_INDEX, ipv4Bytes(plan.address)),
          ]),
        ],
        // CVE-2024-32473 and CVE-2020-13401: no IPv6 where the network has none.
        sysctls: [['net/ipv6/conf/eth0/disable_ipv6', '1']],
      }
    },
    async remove() {
      const now = await findLink(launcher, options.name)
      if (now === undefined || options.foreign || now.alias !== mark || now.index !== index) return
      await rtnetlink(launcher, `remove ${options.name}`, link.deleteLink(index), 1)
    },
  }
}

function defaultPlan(addresses: readonly HostAddress[]): { readonly address: number; readonly subnet: Subnet } {
  const subnet = freeSubnet(addresses.map(subnetOf))
  log.info('chose a subnet for the bridge', { subnet: formatSubnet(subnet) })
  return { address: subnet.base + 1, subnet }
}

/** Settings that only come with the table in place (route_localnet without its guard is CVE-2020-8558). */
export function openForwarding(bridge: Bridge, options: { readonly forward: boolean; readonly localnet: boolean }): void {
  if (options.forward) setting('ipv4/ip_forward', '1')
  if (options.localnet) setting(`ipv4/conf/${bridge.name}/route_localnet`, '1')
}
