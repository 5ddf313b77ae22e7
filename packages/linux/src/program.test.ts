import assert from 'node:assert/strict'
import { it } from 'node:test'
import { HEADER_BYTES, INSTRUCTION_BYTES, OPS, PROGRAM_MAGIC } from './ops.table.ts'
import { syscallProgram } from './program.ts'

it('syscallProgram() encodes ops, labels, registers and data', () => {
  const program = syscallProgram((p) => {
    const fd = p.register()
    const end = p.label()
    p.phase('test')
    p.call('open it', 'openat', [-100, p.text('/x'), 0, 0], { to: fd, tolerate: 2 })
    p.op('skip', 'jump', [end])
    p.op('never', 'move', [1n << 40n])
    p.place(end)
  })
  const { bytes } = program
  assert.equal(bytes.readUInt32LE(0), PROGRAM_MAGIC)
  assert.equal(bytes.readUInt32LE(8), 4)
  assert.equal(bytes.readBigInt64LE(HEADER_BYTES + 16), -100n)
  assert.equal(bytes.readUInt16LE(HEADER_BYTES + 6), 2)
  const jump = HEADER_BYTES + INSTRUCTION_BYTES
  assert.equal(bytes[jump], OPS.jump.code)
  assert.equal(bytes.readBigInt64LE(jump + 16), 3n)
  assert.equal(bytes.readBigUInt64LE(jump + INSTRUCTION_BYTES + 16), 1n << 40n)
  assert.match(program.listing(), /# test\n {2}0 shim syscall {4}open it \(ENOENT passes\)/)
})
it('syscallProgram() refuses text that would end early', () => assert.throws(() => syscallProgram((p) => void p.text('a\0b')), /NUL/))
it('scoped registers are free again', () => {
  syscallProgram((p) => {
    for (let n = 0; n < 500; n++) p.scoped(() => p.register())
  })
})
