import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { Launcher } from '@gantry/linux'
import { planResolver } from './sockets.ts'

it('sockets that come when nobody wants them any more are closed', async () => {
  const givers = new Map<string, (handle: never) => void>()
  const closed: string[] = []
  const launcher = {
    handleText: (_: string, token: string) => Buffer.from(token),
    handle: (token: string) => new Promise((resolve) => givers.set(token, resolve)),
    forgetHandle: (token: string) => void givers.delete(token),
  } as unknown as Launcher
  const socket = (name: string): never => ({ close: () => closed.push(name) }) as never
  for (const before of [1, 2]) {
    closed.length = 0
    const planned = planResolver(launcher, 61_000)
    const [udp, tcp] = planned?.plan.texts.map((text) => givers.get(text.toString())) ?? []
    udp?.(socket('udp'))
    if (before === 2) tcp?.(socket('tcp'))
    planned?.cancel()
    planned?.cancel()
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(closed, before === 1 ? ['udp'] : ['udp', 'tcp'])
  }
})
