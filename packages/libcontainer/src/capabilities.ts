import { EngineError } from '@gantry/std'

const NAMES = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST ' +
  'NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE ' +
  'SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM ' +
  'BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
).split(' ')

/** All capabilities by number (`linux/capability.h`), with `CAP_`. */
export const CAPABILITIES: readonly string[] = NAMES.map((name) => `CAP_${name}`)

/** What a container has unless it asks otherwise. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CHOWN', 'DAC_OVERRIDE', 'FSETID', 'FOWNER', 'MKNOD', 'NET_RAW', 'SETGID', 'SETUID', 'SETFCAP', 'SETPCAP', 'NET_BIND_SERVICE',
  'SYS_CHROOT', 'KILL', 'AUDIT_WRITE',
].map((name) => `CAP_${name}`)

/** The mask of these capabilities. */
export function capabilityMask(names: readonly string[]): bigint {
  let mask = 0n
  for (const name of names) {
    const number = CAPABILITIES.indexOf(name)
    if (number < 0) throw new EngineError('invalid', `unknown capability: "${name}"`)
    mask |= 1n << BigInt(number)
  }
  return mask
}

/**
 * Applies `--cap-add` and `--cap-drop` to a base set: drop ALL first, then what is added, then what is dropped one by one.
 *
 * @param known what this kernel and this daemon have
 */
export function tweakCapabilities(base: readonly string[], add: readonly string[], drop: readonly string[], known: readonly string[]): readonly string[] {
  const normal = (field: string) => (name: string): string => {
    const upper = name.toUpperCase()
    const full = upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`
    if (full !== 'ALL' && !CAPABILITIES.includes(full)) throw new EngineError('invalid', `invalid ${field}: unknown capability: "${full}"`)
    return full
  }
  const added = add.map(normal('CapAdd'))
  const dropped = drop.map(normal('CapDrop'))
  const start = added.includes('ALL') ? known : dropped.includes('ALL') ? [] : base
  const result = new Set(start)
  for (const name of added) if (name !== 'ALL') result.add(name)
  for (const name of dropped) if (name !== 'ALL') result.delete(name)
  return CAPABILITIES.filter((name) => result.has(name))
}

/** The names in a mask as /proc/PID/status prints it. */
export function capabilitiesOf(hexMask: string): readonly string[] {
  const mask = BigInt(`0x${hexMask}`)
  return CAPABILITIES.filter((_, number) => (mask >> BigInt(number)) & 1n)
}
