/** Docker's own Python SDK (Debian's python3-docker) drives a daemon. COMPAT_HOST=unix://…, COMPAT_PID=… judge another engine. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { it } from 'node:test'
import { NOTHING, settledCensus } from '../census.ts'
import { exec, foreignDaemon, root, testDaemon } from '../harness.ts'

const LEAST = 80
const foreign = process.env['COMPAT_HOST']
const skip = process.getuid?.() !== 0 ? 'needs root' : spawnSync('python3', ['-c', 'import docker']).status === 0 ? false : 'needs python3-docker (Debian)'

it('docker-py: more than 80 checks over every resource', { skip }, async () => {
  const daemon = foreign === undefined ? await testDaemon() : foreignDaemon(foreign, Number(process.env['COMPAT_PID']))
  try {
    const { code, out, err } = await exec('python3', ['-W', 'ignore', `${root}/tests/compat/docker_py.py`, daemon.host])
    assert.equal(code, 0, `${out.split('\n').slice(-3).join('\n')}${err}`)
    assert.ok(Number(/^(\d+) checks/m.exec(out)?.[1]) >= LEAST, out)
    if (foreign === undefined) assert.deepEqual(await settledCensus(daemon), NOTHING)
  } finally {
    await daemon.dispose()
  }
})
