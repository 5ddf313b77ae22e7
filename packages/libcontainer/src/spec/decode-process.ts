import { asBoolean, asInteger, asList, asObject, asString, asStrings, EngineError, type JsonObject } from '@gantry/std'
import { limitOf, objects, optional } from './decode-parts.ts'
import type { OciCapabilities, OciProcess, OciRlimit, OciScheduler } from './oci.ts'

function capabilities(value: unknown): OciCapabilities {
  const object = asObject(value, 'process.capabilities')
  const list = (name: string): readonly string[] => asStrings(object[name], `process.capabilities.${name}`)
  return { bounding: list('bounding'), effective: list('effective'), permitted: list('permitted'), inheritable: list('inheritable'), ambient: list('ambient') }
}

function schedulerOf(value: unknown): OciScheduler {
  const object = asObject(value, 'process.scheduler')
  const number = (name: string): number => optional(object[name], (one) => asInteger(one, `process.scheduler.${name}`)) ?? 0
  return { policy: asString(object['policy'], 'process.scheduler.policy'), nice: number('nice'), priority: number('priority'), flags: asStrings(object['flags'], 'process.scheduler.flags'), runtime: number('runtime'), deadline: number('deadline'), period: number('period') }
}

const IO_CLASSES = ['IOPRIO_CLASS_RT', 'IOPRIO_CLASS_BE', 'IOPRIO_CLASS_IDLE'] as const

function ioPriorityOf(value: unknown): NonNullable<OciProcess['ioPriority']> {
  const object = asObject(value, 'process.ioPriority')
  const name = asString(object['class'], 'process.ioPriority.class')
  const found = IO_CLASSES.find((one) => one === name)
  const priority = optional(object['priority'], (one) => asInteger(one, 'process.ioPriority.priority')) ?? 0
  if (found === undefined) throw new EngineError('invalid', `process.ioPriority.class: expected ${IO_CLASSES.join(', ')}, got "${name}"`)
  if (priority < 0 || priority > 7) throw new EngineError('invalid', `process.ioPriority.priority: expected 0 to 7, got ${priority}`)
  return { class: found, priority }
}

function more(object: JsonObject): Partial<OciProcess> {
  const [apparmorProfile, selinuxLabel] = ['apparmorProfile', 'selinuxLabel'].map((name) => asString(object[name], `process.${name}`))
  const affinity = optional(object['execCPUAffinity'], (one) => asObject(one, 'process.execCPUAffinity'))
  const [initial, final] = ['initial', 'final'].map((name) => asString(affinity?.[name], `process.execCPUAffinity.${name}`))
  return {
    ...(apparmorProfile !== undefined && apparmorProfile !== '' && { apparmorProfile }),
    ...(selinuxLabel !== undefined && selinuxLabel !== '' && { selinuxLabel }),
    ...(optional(object['scheduler'], (one) => ({ scheduler: schedulerOf(one) })) ?? {}),
    ...(optional(object['ioPriority'], (one) => ({ ioPriority: ioPriorityOf(one) })) ?? {}),
    ...(affinity && { execCPUAffinity: { ...(initial !== undefined && initial !== '' && { initial }), ...(final !== undefined && final !== '' && { final }) } }),
    ...(optional(object['oomScoreAdj'], (one) => ({ oomScoreAdj: asInteger(one, 'process.oomScoreAdj') })) ?? {}),
  }
}

/** Reads `process` of a configuration, or the file that an exec is given (config.md, Process). */
export function decodeProcess(value: unknown): OciProcess {
  const object = asObject(value, 'process')
  const cwd = asString(object['cwd'], 'process.cwd')
  if (!cwd.startsWith('/')) throw new EngineError('invalid', `process.cwd: expected an absolute path, got "${cwd}"`)
  const args = asStrings(object['args'], 'process.args')
  if (args.length === 0) throw new EngineError('invalid', 'process.args: expected at least one')
  const user = asObject(object['user'], 'process.user')
  const umask = optional(user['umask'], (one) => asInteger(one, 'process.user.umask'))
  const size = optional(object['consoleSize'], (one) => asObject(one, 'process.consoleSize'))
  return {
    terminal: asBoolean(object['terminal'], 'process.terminal'),
    ...(size && { consoleSize: { height: asInteger(size['height'], 'process.consoleSize.height'), width: asInteger(size['width'], 'process.consoleSize.width') } }),
    cwd,
    args,
    env: asStrings(object['env'], 'process.env'),
    user: { uid: asInteger(user['uid'], 'process.user.uid'), gid: asInteger(user['gid'], 'process.user.gid'), additionalGids: asList(user['additionalGids'], 'process.user.additionalGids').map((gid, index) => asInteger(gid, `process.user.additionalGids[${index}]`)), ...(umask !== undefined && { umask }) },
    capabilities: capabilities(object['capabilities']),
    noNewPrivileges: asBoolean(object['noNewPrivileges'], 'process.noNewPrivileges'),
    rlimits: objects(object['rlimits'], 'process.rlimits', (o, field): OciRlimit => ({ type: asString(o['type'], `${field}.type`), soft: limitOf(o['soft'], `${field}.soft`), hard: limitOf(o['hard'], `${field}.hard`) })),
    ...more(object),
  }
}
