import assert from 'node:assert/strict'
import { it } from 'node:test'
import { keyedLock } from './lock.ts'

it('keyedLock() runs the work of one key one after another, also after a failure', async () => {
  const lock = keyedLock()
  const seen: string[] = []
  const work = (name: string, fail = false) => async (): Promise<string> => {
    seen.push(`${name} begins`)
    await new Promise((resolve) => setImmediate(resolve))
    seen.push(`${name} ends`)
    if (fail) throw new Error(name)
    return name
  }
  const results = await Promise.allSettled([lock.run('a', work('first', true)), lock.run('a', work('second'))])
  assert.deepEqual(results.map((one) => one.status), ['rejected', 'fulfilled'])
  assert.deepEqual(seen, ['first begins', 'first ends', 'second begins', 'second ends'])
})
