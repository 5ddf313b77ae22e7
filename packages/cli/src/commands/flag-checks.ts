import { isIP } from 'node:net'
import { type EngineError, isEngineError, parseBytes, parseDuration } from '@gantry/std'

/** Why a value of a flag cannot be, in the words of Docker's client, or undefined. */
type Check = (value: string) => string | undefined

const OWN_SYSCTLS: ReadonlySet<string> = new Set(['kernel.msgmax', 'kernel.msgmnb', 'kernel.msgmni', 'kernel.sem', 'kernel.shmall', 'kernel.shmmax', 'kernel.shmmni', 'kernel.shm_rmid_forced'])

const matching = (pattern: RegExp, reason: (value: string) => string): Check => (value) => (pattern.test(value) ? undefined : reason(value))

/** A size such as `64m`. */
const size: Check = (value) => {
  try {
    if (value !== '') parseBytes(value)
    return undefined
  } catch (error) {
    if (!isEngineError(error)) throw error
    return (error as EngineError).message
  }
}

const ulimit: Check = (value) => {
  const match = /^\w+=(-?\d+)(?::(-?\d+))?$/.exec(value)
  if (match === null) return `invalid ulimit argument: ${value}`
  const [soft, hard] = [Number(match[1]), Number(match[2] ?? match[1])]
  if (hard !== -1 && (soft > hard || soft === -1)) return `ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`
  return undefined
}

const extraHost: Check = (value) => {
  const at = value.search(/[:=]/)
  if (at <= 0) return `bad format for add-host: ${JSON.stringify(value)}`
  const address = value.slice(at + 1).replace(/^\[(.*)\]$/, '$1')
  return address === 'host-gateway' || isIP(address) !== 0 ? undefined : `invalid IP address in add-host: ${JSON.stringify(value.slice(at + 1))}`
}

const duration: Check = (value) => (value === '' || parseDuration(value.replace(/^-/, '')) !== undefined ? undefined : `time: invalid duration ${JSON.stringify(value)}`)
const windowsOnly: Check = () => 'only supported on a daemon running on windows, but this daemon runs on linux'
const perDevice = matching(/^\/dev\/[^:]+:\S+$|^$/, (value) => `bad format: ${value}`)
const named = (what: string): Check => matching(/^[^=]/, (value) => `invalid ${what} ${what === 'label' ? `'${value}': empty name` : `variable: ${value}`}`)

/** Checks of flags, by name. */
export const FLAG_CHECKS: Readonly<Record<string, Check>> = {
  memory: size, 'memory-swap': size, 'memory-reservation': size, 'kernel-memory': size, 'shm-size': size, ulimit, 'add-host': extraHost,
  attach: matching(/^(stdin|stdout|stderr)$/i, () => 'valid streams are STDIN, STDOUT and STDERR'),
  cpus: matching(/^\d+(\.\d{1,9})?$|^\.\d{1,9}$/, (value) => `failed to parse ${value} as a rational number`),
  dns: (value) => (isIP(value) === 0 ? `IP address is not correctly formatted: ${value}` : undefined),
  sysctl: (value) => (OWN_SYSCTLS.has(value.split('=')[0] ?? '') || /^(net\.|fs\.mqueue\.)/.test(value) ? undefined : `sysctl '${value}' is not allowed`),
  env: named('environment'), label: named('label'),
  'health-interval': duration, 'health-timeout': duration, 'health-start-period': duration, 'health-start-interval': duration,
  'blkio-weight-device': perDevice, 'device-read-bps': perDevice, 'device-write-bps': perDevice, 'device-read-iops': perDevice, 'device-write-iops': perDevice,
  'device-cgroup-rule': matching(/^[acb] (\d+|\*):(\d+|\*) [rwm]{1,3}$/, (value) => `invalid device cgroup format '${value}'`),
  'cpu-count': windowsOnly, 'cpu-percent': windowsOnly, 'io-maxbandwidth': windowsOnly, 'io-maxiops': windowsOnly,
}
