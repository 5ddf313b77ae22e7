/** What holds on this kernel holds on one with only cgroup version 2, too. The machines run ahead (`ahead.ts`); alone, this file runs them itself. */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { awaitResult, LIMIT_S, MACHINES, noMachines, runMachine } from './machines.ts'

const skip = await noMachines()
const results = process.env['GANTRY_VM_RESULTS'] ?? ''

for (const files of MACHINES) {
  it(`${files.join(', ')} on a kernel with cgroup version 2`, { skip, timeout: 2 * MACHINES.length * LIMIT_S * 1000 }, async () => {
    const ran = await (results === '' ? runMachine(files) : awaitResult(results, files))
    assert.equal(ran.code, 0, ran.out.slice(-4000) + ran.err)
    assert.match(ran.out, /# fail 0/)
    assert.doesNotMatch(ran.out, /# pass 0/)
  })
}
