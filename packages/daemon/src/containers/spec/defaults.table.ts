import type { OciDeviceRule, OciMount } from '@gantry/runtime'

/** What every container has unless it is privileged or says otherwise (facts: `security.md` B4). */

export const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export const MASKED_PATHS: readonly string[] = ['/proc/asound', '/proc/acpi', '/proc/interrupts', '/proc/kcore', '/proc/keys', '/proc/latency_stats', '/proc/timer_list', '/proc/timer_stats', '/proc/sched_debug', '/proc/scsi', '/sys/firmware', '/sys/devices/virtual/powercap']

export const READONLY_PATHS: readonly string[] = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']

const allow = (type: 'c' | 'b', access: string, major?: number, minor?: number): OciDeviceRule => ({ allow: true, type, access, ...(major !== undefined && { major }), ...(minor !== undefined && { minor }) })

export const DEFAULT_DEVICE_RULES: readonly OciDeviceRule[] = [
  { allow: false, type: 'a', access: 'rwm' },
  allow('c', 'm'), allow('b', 'm'),
  allow('c', 'rwm', 1, 3), allow('c', 'rwm', 1, 5), allow('c', 'rwm', 1, 7), allow('c', 'rwm', 1, 8), allow('c', 'rwm', 1, 9),
  allow('c', 'rwm', 5, 0), allow('c', 'rwm', 5, 1), allow('c', 'rwm', 5, 2), allow('c', 'rwm', 136), allow('c', 'rwm', 10, 200),
]

export const DEFAULT_MOUNTS: readonly OciMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'] },
  { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro', 'nosuid', 'noexec', 'nodev'] },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
]

/** 64 MiB. */
export const DEFAULT_SHM_BYTES = 67_108_864
