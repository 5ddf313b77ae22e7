import assert from 'node:assert/strict'
import { it } from 'node:test'
import { deviceProgram } from './devices.ts'
import { readLayout } from './manager.ts'
import { deviceRuleText, v1Files } from './v1.ts'
import { sharesToWeight, v2Files } from './v2.ts'

it('v2Files() says the same as version 1 in other words', () => {
  const resources = { devices: [], memory: { limit: 100, swap: 300, reservation: 50 }, cpu: { shares: 1024, quota: 50_000, period: 100_000 }, pids: { limit: -1 } }
  assert.deepEqual(v2Files(resources, () => true).map((write) => `${write.file} ${write.value}`), ['memory.max 100', 'memory.swap.max 200', 'memory.low 50', 'cpu.weight 39', 'cpu.max 50000 100000', 'pids.max max'])
  assert.deepEqual(v1Files(['memory'], resources, () => true).map((write) => `${write.file} ${write.value}`), ['memory.limit_in_bytes 100', 'memory.memsw.limit_in_bytes 300', 'memory.soft_limit_in_bytes 50'])
})
it('sharesToWeight() spans both ranges', () => assert.deepEqual([2, 1024, 262144].map(sharesToWeight), [1, 39, 10000]))
it('deviceRuleText() leaves wildcards open', () => assert.equal(deviceRuleText({ allow: true, type: 'c', major: 136, access: 'rwm' }), 'c 136:* rwm'))

/** Runs the few instructions that the compiler writes. */
function decide(program: Buffer, type: number, access: number, major: number, minor: number): number {
  const r = new Array<number>(10).fill(0)
  const context = [(access << 16) | type, major, minor]
  for (let at = 0; at < program.length / 8; at++) {
    const [code, registers, offset, immediate] = [program.readUInt8(at * 8), program.readUInt8(at * 8 + 1), program.readInt16LE(at * 8 + 2), program.readInt32LE(at * 8 + 4)]
    const [dst, src] = [registers & 15, registers >> 4]
    if (code === 0xb4) r[dst] = immediate
    else if (code === 0xbc) r[dst] = r[src] ?? 0
    else if (code === 0x61) r[dst] = context[offset / 4] ?? 0
    else if (code === 0x54) r[dst] = (r[dst] ?? 0) & immediate
    else if (code === 0x74) r[dst] = (r[dst] ?? 0) >>> immediate
    else if (code === 0x56) at += r[dst] === immediate ? 0 : offset
    else if (code === 0x5e) at += r[dst] === r[src] ? 0 : offset
    else if (code === 0x95) return r[0] ?? 0
    else throw new Error(`unknown code ${code}`)
  }
  throw new Error('ran past the end')
}
it('deviceProgram() lets the last matching rule decide', () => {
  const program = deviceProgram([{ allow: false, type: 'a', access: 'rwm' }, { allow: true, type: 'c', access: 'm' }, { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' }])
  assert.equal(decide(program, 2, 4 | 2, 1, 3), 1)
  assert.equal(decide(program, 2, 2, 1, 5), 0)
  assert.equal(decide(program, 2, 1, 9, 9), 1)
  assert.equal(decide(program, 1, 2, 8, 0), 0)
})
it('readLayout() tells version 1, hybrid and 2 apart', () => {
  const line = (type: string, point: string, options: string): string => `1 2 0:1 / ${point} rw - ${type} cgroup rw,${options}`
  assert.equal(readLayout([line('cgroup', '/sys/fs/cgroup/memory', 'memory'), line('cgroup2', '/sys/fs/cgroup/unified', '')].join('\n')).version, 1)
  assert.equal(readLayout(line('cgroup2', '/nowhere', '')).version, 2)
  assert.throws(() => readLayout(''), /no cgroup file system/)
})
