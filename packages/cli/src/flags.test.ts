import assert from 'node:assert/strict'
import { it } from 'node:test'
import { parsePublish } from './commands/create-body.ts'
import { parseMountFlag } from './commands/mount-flag.ts'
import { startFailureCode } from './commands/run.ts'
import { type Flag, parseFlags } from './flags.ts'

const FLAGS: readonly Flag[] = [
  { name: 'interactive', short: 'i', kind: 'bool', help: '' },
  { name: 'tty', short: 't', kind: 'bool', help: '' },
  { name: 'publish', short: 'p', kind: 'list', help: '' },
  { name: 'rm', kind: 'bool', help: '' },
  { name: 'name', kind: 'text', help: '' },
]
it('parseFlags() reads pflag’s grammar', () => {
  const parsed = parseFlags(['-itp8080:80', '--rm=false', '--name', 'x', '-p', '1:1', 'image', '-x', '--rm'], FLAGS, 'run', true)
  assert.deepEqual([parsed.bool('interactive'), parsed.bool('tty'), parsed.bool('rm'), parsed.text('name'), parsed.list('publish'), parsed.rest], [true, true, false, 'x', ['8080:80', '1:1'], ['image', '-x', '--rm']])
})
it('parseFlags() names what it does not know', () => {
  assert.throws(() => parseFlags(['--nope'], FLAGS, 'run', true), /unknown flag: --nope/)
  assert.throws(() => parseFlags(['--name'], FLAGS, 'run', true), /flag needs an argument: --name/)
})
it('parsePublish() reads addresses, ranges and protocols', () => {
  assert.deepEqual(parsePublish(['127.0.0.1:8080:80', '53:53/udp', '90']), { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }], '53/udp': [{ HostIp: '', HostPort: '53' }], '90/tcp': [{ HostIp: '', HostPort: '' }] })
  assert.deepEqual(Object.keys(parsePublish(['8000-8002:80-82'])), ['80/tcp', '81/tcp', '82/tcp'])
  assert.throws(() => parsePublish(['nonsense']), /invalid containerPort: nonsense/)
})
it('startFailureCode() follows the daemon’s words', () => assert.deepEqual(['exec: "x": executable file not found in $PATH', 'permission denied', 'no such image'].map(startFailureCode), [127, 126, 125]))
it('parseMountFlag() reads --mount, and names what it does not know', () => {
  assert.deepEqual(parseMountFlag('type=bind,src=/a,dst=/b,ro'), { Type: 'bind', Target: '/b', ReadOnly: true, Source: '/a', BindOptions: { Propagation: undefined, CreateMountpoint: false } })
  assert.deepEqual(parseMountFlag('type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700'), { Type: 'tmpfs', Target: '/t', ReadOnly: false, Source: '', TmpfsOptions: { SizeBytes: 1_048_576, Mode: 0o700 } })
  assert.throws(() => parseMountFlag('type=bind,src=/a'), /target is required/)
  assert.throws(() => parseMountFlag('target=/a,colour=red'), /unexpected key 'colour'/)
})
