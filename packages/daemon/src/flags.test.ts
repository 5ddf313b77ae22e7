import assert from 'node:assert/strict'
import { it } from 'node:test'
import { readConfig } from './flags.ts'

it('readConfig() reads dockerd’s names', () => {
  const config = readConfig(['-H', 'unix:///x', '--host=tcp://127.0.0.1:1', '--bridge', 'none', '--icc=false', '-D'], '/r', {})
  assert.deepEqual([config.hosts, config.bridge, readConfig(['--icc=false'], '/r', {}).bridge?.icc, config.logLevel, config.storageDriver], [['unix:///x', 'tcp://127.0.0.1:1'], undefined, false, 'debug', ''])
  assert.deepEqual(readConfig(['--default-address-pool', 'base=10.0.0.0/8,size=24'], '/r', {}).addressPools, [{ base: { family: 4, base: 0x0a000000n, prefix: 8 }, size: 24 }])
  assert.equal(readConfig([], '/r', { DOCKER_DRIVER: 'vfs' }).storageDriver, 'vfs')
})
it('readConfig() refuses surplus words and unknown flags with usage', () => {
  assert.throws(() => readConfig(['start'], '/r', {}), /accepts no arguments, got: start[\s\S]*Usage: gantry daemon/)
  assert.throws(() => readConfig(['--nope'], '/r', {}), /unknown flag: --nope/)
  assert.throws(() => readConfig(['--exec-root', `/${'x'.repeat(80)}`], '/r', {}), /--exec-root: expected an absolute path of at most/)
  assert.throws(() => readConfig(['--default-address-pool', 'base=10.0.0.0/8'], '/r', {}), /--default-address-pool: expected base=SUBNET,size=BITS/)
  assert.throws(() => readConfig(['--config-file', '/nonexistent.json'], '/r', {}), /unable to configure the daemon with file/)
})
