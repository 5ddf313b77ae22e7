import assert from 'node:assert/strict'
import { it } from 'node:test'
import { commonWords, exitCodeOf, lastError } from './external-side.ts'

it('lastError() reads runc’s lines and crun’s objects over several lines, and takes the last error', () => {
  assert.equal(lastError('{"level":"error","msg":"first"}\n{"level":"warning","msg":"w"}\n'), 'first')
  assert.equal(lastError('{\n  "msg": "say \\"it\\"",\n  "level": "error"\n}'), 'say "it"')
  assert.equal(lastError('{"level":"err'), undefined)
  assert.equal(lastError('plain text'), undefined)
})
it('exitCodeOf() answers as a shell does', () => {
  assert.deepEqual(['exec: "x": executable file not found in $PATH', 'stat /x: no such file or directory', 'exec: "/etc": permission denied', 'something else'].map(exitCodeOf), [127, 127, 126, 128])
})
it('commonWords() says it as runc does', () => {
  assert.equal(commonWords('executable file `x` not found in $PATH: No such file or directory'), 'exec: "x": executable file not found in $PATH')
  assert.equal(commonWords('unable to start container process: error during container init: exec: "x": stat x: no such file or directory'), 'exec: "x": stat x: no such file or directory')
  assert.equal(commonWords('open `/etc`: Permission denied'), 'open `/etc`: permission denied')
})
