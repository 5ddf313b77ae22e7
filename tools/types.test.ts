/** The compiler's word on the whole tree, tests and tools included. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { it } from 'node:test'

const root = new URL('..', import.meta.url).pathname

it('types hold', async () => {
  const output = await new Promise<string>((resolve) => execFile(process.execPath, [`${root}/node_modules/typescript/bin/tsc`, '-p', root, '--pretty', 'false'], (_, stdout, stderr) => resolve(stdout + stderr)))
  assert.equal(output, '')
})
