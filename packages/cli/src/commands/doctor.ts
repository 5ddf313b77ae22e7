import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { freemem } from 'node:os'
import { EngineError, humanSize, messageOf } from '@gantry/std'
import type { Command, Context } from '../command.ts'
import { coloured } from '../output.ts'

/** What a check came to, and what mends it. */
interface Finding {
  readonly what: string
  readonly state: 'good' | 'poor' | 'bad'
  readonly detail: string
  readonly fix?: string
}

const MARKS = { good: ['green', 'ok  '], poor: ['yellow', 'warn'], bad: ['red', 'FAIL'] } as const
const LEAST_KERNEL = [5, 12] as const
const LITTLE_DISK = 1 << 30
const LITTLE_MEMORY = 128 << 20

const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8').trim() : '')
const good = (what: string, detail: string): Finding => ({ what, state: 'good', detail })
const poor = (what: string, detail: string, fix: string): Finding => ({ what, state: 'poor', detail, fix })
const bad = (what: string, detail: string, fix: string): Finding => ({ what, state: 'bad', detail, fix })

function kernel(): Finding {
  const release = read('/proc/sys/kernel/osrelease')
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10))
  const enough = major > LEAST_KERNEL[0] || (major === LEAST_KERNEL[0] && minor >= LEAST_KERNEL[1])
  return enough ? good('kernel', release) : bad('kernel', release, `a kernel of ${LEAST_KERNEL.join('.')} or later is needed (mount_setattr, openat2)`)
}

function controllers(): Finding {
  if (existsSync('/sys/fs/cgroup/cgroup.controllers')) {
    const has = read('/sys/fs/cgroup/cgroup.controllers').split(' ')
    const missing = ['cpu', 'memory', 'pids'].filter((name) => !has.includes(name))
    return missing.length === 0 ? good('cgroups', `version 2: ${has.join(' ')}`) : poor('cgroups', `version 2 without ${missing.join(', ')}`, `echo "${missing.map((name) => `+${name}`).join(' ')}" > /sys/fs/cgroup/cgroup.subtree_control`)
  }
  const missing = ['cpu', 'memory', 'pids', 'devices', 'freezer'].filter((name) => !existsSync(`/sys/fs/cgroup/${name}`) && !existsSync(`/sys/fs/cgroup/${name},cpuacct`))
  return missing.length === 0 ? good('cgroups', 'version 1') : bad('cgroups', `no hierarchy for ${missing.join(', ')}`, 'mount the cgroup file system (apt install cgroupfs-mount, or boot with systemd)')
}

function filesystems(): Finding {
  const known = read('/proc/filesystems')
  const has = ['overlay', 'erofs', 'btrfs'].filter((name) => new RegExp(`\\b${name}$`, 'm').test(known))
  return has.includes('overlay') ? good('file systems', has.join(', ')) : bad('file systems', has.length === 0 ? 'no overlay' : `${has.join(', ')}, no overlay`, 'modprobe overlay')
}

function seccomp(): Finding {
  return /errno/.test(read('/proc/sys/kernel/seccomp/actions_avail')) ? good('seccomp', 'filters') : bad('seccomp', 'no filters', 'a kernel with CONFIG_SECCOMP_FILTER is needed')
}

function forwarding(): Finding {
  return read('/proc/sys/net/ipv4/ip_forward') === '1' ? good('forwarding', 'on') : poor('forwarding', 'off: containers reach nobody outside', 'sysctl -w net.ipv4.ip_forward=1 (the daemon does it, too, unless --ip-forward=false)')
}

function users(): Finding {
  const most = Number(read('/proc/sys/user/max_user_namespaces') || '0')
  return most > 0 ? good('user namespaces', `up to ${most}`) : poor('user namespaces', 'none may be made: --userns-remap cannot work', 'sysctl -w user.max_user_namespaces=15000')
}

function disk(root: string): Finding {
  const { bavail, bsize, blocks, ffree, files } = statfsSync(existsSync(root) ? root : '/')
  const free = bavail * bsize
  const text = `${humanSize(free)} of ${humanSize(blocks * bsize)} free for ${root}`
  if (files > 0 && ffree / files < 0.01) return poor('disk', `${text}, but hardly a file more`, 'gantry system prune')
  return free < LITTLE_DISK ? poor('disk', text, 'gantry system prune, or another --data-root') : good('disk', text)
}

function memory(): Finding {
  const free = Number(/^MemAvailable:\s+(\d+)/m.exec(read('/proc/meminfo'))?.[1] ?? freemem() / 1024) * 1024
  return free < LITTLE_MEMORY ? poor('memory', `${humanSize(free)} available`, 'stop something, or add swap') : good('memory', `${humanSize(free)} available`)
}

interface Info {
  readonly ServerVersion: string
  readonly Driver: string
  readonly DockerRootDir: string
  readonly SecurityOptions: readonly string[]
  readonly Warnings: readonly string[] | null
}

async function daemon(context: Context): Promise<{ readonly findings: readonly Finding[]; readonly root: string | undefined }> {
  try {
    const info = await context.api.json<Info>('GET', '/info')
    const security = info.SecurityOptions.map((one) => one.replace(/^name=([^,]*).*/, '$1')).join(', ')
    return { root: info.DockerRootDir, findings: [good('daemon', `${info.ServerVersion} at ${context.host}, storage ${info.Driver}`), good('confinement', security), ...(info.Warnings ?? []).map((warning) => poor('daemon', warning.replace(/^WARNING: /, ''), 'see the line above'))] }
  } catch (error) {
    if (!(error instanceof EngineError)) throw error
    return { root: undefined, findings: [bad('daemon', messageOf(error), 'sudo gantry daemon (or any command of gantry as root, which starts it)')] }
  }
}

/** A container from its creation to its end, as a user would have it. */
async function start(context: Context): Promise<Finding> {
  const begun = performance.now()
  try {
    const { Id } = await context.api.json<{ Id: string }>('POST', '/containers/create', { json: { Image: 'busybox', Cmd: ['true'], HostConfig: { AutoRemove: true } } })
    const ended = context.api.json<{ StatusCode: number }>('POST', `/containers/${Id}/wait`, { query: { condition: 'removed' } })
    await context.api.send('POST', `/containers/${Id}/start`)
    const { StatusCode } = await ended
    return StatusCode === 0 ? good('a container', `runs: ${Math.round(performance.now() - begun)} ms from its creation to its removal`) : bad('a container', `ended with ${StatusCode}`, 'gantry events, and the log of the daemon')
  } catch (error) {
    if (!(error instanceof EngineError)) throw error
    if (/^No such image/.test(error.message)) return poor('a container', 'not tried: there is no busybox image', 'gantry pull busybox')
    return bad('a container', messageOf(error), 'gantry run --explain busybox true shows what a start does')
  }
}

/** What may be wrong with a host, and how to mend it. */
export const DOCTOR_COMMANDS: readonly Command[] = [
  {
    names: ['doctor'], usage: 'doctor', help: 'Check the host and the daemon, and say what to fix (ours)', offline: true, flags: [],
    run: async (context) => {
      const { findings, root } = await daemon(context)
      const here = context.host.startsWith('unix://') ? [kernel(), controllers(), filesystems(), seccomp(), users(), forwarding(), disk(root ?? '/'), memory()] : []
      const all = [...here, ...findings, ...(root === undefined ? [] : [await start(context)])]
      const width = Math.max(...all.map((one) => one.what.length))
      for (const { what, state, detail, fix } of all) process.stdout.write(`${coloured(MARKS[state][0], MARKS[state][1])}  ${what.padEnd(width)}  ${detail}\n${fix === undefined ? '' : `      ${' '.repeat(width)}  fix: ${fix}\n`}`)
      return all.some((one) => one.state === 'bad') ? 1 : 0
    },
  },
]
