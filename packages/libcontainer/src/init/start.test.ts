/** Golden listings: what a start does, feature by feature. Read their diffs like code; renew with --test-update-snapshots. */
import { it, type TestContext } from 'node:test'
import { DEFAULT_CAPABILITIES } from '../capabilities.ts'
import { cgroupManager } from '../cgroups/manager.ts'
import type { OciSpec } from '../spec/oci.ts'
import { execProgram } from './exec.ts'
import type { StartPlan } from './plan.ts'
import { startProgram } from './start.ts'

const mount = (destination: string, type: string, options: readonly string[] = []) => ({ destination, type, source: type, options })
const SPEC: OciSpec = {
  hostname: 'box',
  process: {
    terminal: false, cwd: '/work', args: ['sh', '-c', 'true'], env: ['PATH=/bin:/usr/bin'], user: { uid: 0, gid: 0, additionalGids: [0] }, noNewPrivileges: false, oomScoreAdj: 0, rlimits: [],
    capabilities: { bounding: DEFAULT_CAPABILITIES, effective: DEFAULT_CAPABILITIES, permitted: DEFAULT_CAPABILITIES, inheritable: [], ambient: [] },
  },
  root: { readonly: false },
  mounts: [mount('/proc', 'proc', ['nosuid']), mount('/dev', 'tmpfs', ['mode=755']), mount('/dev/pts', 'devpts', ['newinstance']), mount('/sys', 'sysfs', ['ro'])],
  linux: {
    namespaces: [{ type: 'pid' }, { type: 'network' }, { type: 'mount' }, { type: 'ipc' }, { type: 'uts' }], resources: { devices: [] }, devices: [{ path: '/dev/null', type: 'c', major: 1, minor: 3, fileMode: 0o666, uid: 0, gid: 0 }],
    sysctl: {}, maskedPaths: ['/proc/kcore'], readonlyPaths: ['/proc/sys'],
  },
}
const LAYOUTS = {
  1: { version: 1, hierarchies: [{ mountPoint: '/cg/memory', controllers: ['memory'] }, { mountPoint: '/cg/cpu', controllers: ['cpu', 'cpuacct'] }], unified: { mountPoint: '/cg/unified', controllers: [] } },
  2: { version: 2, hierarchies: [], unified: { mountPoint: '/cg', controllers: ['cpu', 'memory', 'pids'] } },
} as const
const plan = (spec: OciSpec, version: 1 | 2 = 1, over: Partial<StartPlan> = {}): StartPlan => ({
  spec, root: { type: 'overlay', source: 'overlay', data: 'lowerdir=l/a,upperdir=b,workdir=c', directory: '/layers' }, mountPoint: '/mnt', cgroup: cgroupManager('/gantry', LAYOUTS[version]).plan('ID', spec.linux.resources),
  network: { host: [], inside: [], sysctls: [] }, stdio: { openStdin: false, stdinOnce: false, streams: [] }, socketPath: '/x/s', exitPath: '/x/exit', init: false, lastCapability: 40, ...over,
})
const golden = (context: TestContext, name: string, listing: string): void => context.assert.fileSnapshot(listing, `${import.meta.dirname}/golden/${name}.txt`, { serializers: [(value: string) => value] })
const process = (over: object): OciSpec => ({ ...SPEC, process: { ...SPEC.process, ...over } })
const linux = (over: object): OciSpec => ({ ...SPEC, linux: { ...SPEC.linux, ...over } })

it('startProgram() of a plain container', (t) => golden(t, 'plain', startProgram(plan(SPEC)).listing()))
it('startProgram() with a terminal', (t) => golden(t, 'terminal', startProgram(plan(process({ terminal: true }))).listing()))
it('startProgram() read-only, with standard input and an own init', (t) => golden(t, 'read-only', startProgram(plan({ ...SPEC, root: { readonly: true } }, 1, { init: true, stdio: { openStdin: true, stdinOnce: true, streams: [{ socketPath: '/x/streams', token: 't'.repeat(32), stdin: true, stdout: true, stderr: true }] } })).listing()))
it('startProgram() as another user without new privileges', (t) => golden(t, 'user', startProgram(plan(process({ user: { uid: 1000, gid: 1000, additionalGids: [1000, 10] }, noNewPrivileges: true, rlimits: [{ type: 'RLIMIT_NOFILE', soft: 10, hard: 20 }] }))).listing()))
it('startProgram() with limits, version 1', (t) => golden(t, 'limits-v1', startProgram(plan(linux({ resources: { devices: [{ allow: false, type: 'a', access: 'rwm' }], memory: { limit: 1, swap: 2 }, cpu: { quota: 3, period: 4 } } }))).listing()))
it('startProgram() with limits, version 2', (t) => golden(t, 'limits-v2', startProgram(plan(linux({ resources: { devices: [{ allow: false, type: 'a', access: 'rwm' }], memory: { limit: 1, swap: 2 }, cpu: { quota: 3, period: 4 }, pids: { limit: 5 } }, namespaces: [...SPEC.linux.namespaces, { type: 'cgroup' }] }), 2)).listing()))
it('startProgram() in the namespaces of others, with a sysctl', (t) => golden(t, 'joined', startProgram(plan(linux({ namespaces: [{ type: 'mount' }, { type: 'network', path: '/proc/7/ns/net' }, { type: 'pid', path: '/proc/7/ns/pid' }], sysctl: { 'net.ipv4.ip_forward': '1' } }))).listing()))
it('execProgram() of a further process', (t) => golden(t, 'exec', execProgram({ process: SPEC.process, spec: SPEC, cgroup: plan(SPEC).cgroup, stdio: { openStdin: false, stdinOnce: false, streams: [] }, execId: 9, lastCapability: 40 }).listing()))
it('startProgram() with users of its own', (t) => golden(t, 'users', startProgram(plan({ ...SPEC, mounts: [...SPEC.mounts, { destination: '/data', type: 'bind', source: '/', options: ['rbind', 'idmap'] }], linux: { ...SPEC.linux, namespaces: [...SPEC.linux.namespaces, { type: 'user' }], uidMappings: [{ containerID: 0, hostID: 100_000, size: 65_536 }], gidMappings: [{ containerID: 0, hostID: 200_000, size: 65_536 }] } })).listing()))
it('startProgram() with a bind whose mounts go back to the host', (t) => golden(t, 'shared', startProgram(plan({ ...SPEC, mounts: [...SPEC.mounts, { destination: '/data', type: 'bind', source: '/', options: ['rbind', 'rshared'] }] })).listing()))
