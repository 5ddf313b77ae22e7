/** AppArmor, where the kernel has it; `tests/vm/cgroup2.test.ts` runs this file on a Debian kernel, which has. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { exec, ownClient, type TestDaemon, testDaemon } from '../harness.ts'

const has = existsSync('/sys/module/apparmor/parameters/enabled') && readFileSync('/sys/module/apparmor/parameters/enabled', 'utf8').startsWith('Y')
const parser = (await exec('sh', ['-c', 'command -v apparmor_parser'])).code === 0
const skip = process.getuid?.() !== 0 ? 'needs root' : !has ? 'needs a kernel with AppArmor' : !parser ? 'needs apparmor_parser (Debian package apparmor)' : false

describe('AppArmor', { skip }, () => {
  let daemon: TestDaemon
  const { gantry, ok } = ownClient(() => daemon)
  before(async () => {
    if (!existsSync('/sys/kernel/security/apparmor')) await exec('mount', ['-t', 'securityfs', 'securityfs', '/sys/kernel/security'])
    daemon = await testDaemon()
  })
  after(() => daemon.dispose())
  const current = ['sh', '-c', 'cat /proc/self/attr/apparmor/current'] as const

  it('is told of in info', async () => assert.match(await ok('info', '--format', '{{.SecurityOptions}}'), /name=apparmor/))
  it('containers and execs are confined by the default profile, enforced', async () => {
    assert.equal(await ok('run', '--rm', 'busybox', ...current), 'gantry-default (enforce)')
    await ok('run', '-d', '--name', 'box', 'busybox', 'sleep', '1000')
    assert.equal(await ok('exec', '-u', '1000', 'box', ...current), 'gantry-default (enforce)')
    assert.equal(await ok('inspect', '-f', '{{.AppArmorProfile}}', 'box'), 'gantry-default')
    await ok('rm', '-f', 'box')
  })
  it('stands where capabilities would allow it: mounts, settings of the kernel', async () => {
    assert.notEqual((await gantry('run', '--rm', '--cap-add', 'SYS_ADMIN', 'busybox', 'mount', '-t', 'tmpfs', 't', '/tmp')).code, 0)
    assert.equal((await gantry('run', '--rm', '--cap-add', 'SYS_ADMIN', '--security-opt', 'apparmor=unconfined', 'busybox', 'mount', '-t', 'tmpfs', 't', '/tmp')).code, 0)
    assert.match((await gantry('run', '--rm', '--security-opt', 'systempaths=unconfined', 'busybox', 'sh', '-c', 'echo x > /proc/sys/kernel/core_pattern')).err, /[Pp]ermission denied|Read-only/)
    assert.equal((await gantry('run', '--rm', 'busybox', 'sh', '-c', 'kill -0 1; echo fine > /tmp/file; cat /tmp/file')).out, 'fine\n')
  })
  it('privileged and unconfined containers have none; one that is not loaded fails the start by name', async () => {
    assert.equal(await ok('run', '--rm', '--privileged', 'busybox', ...current), 'unconfined')
    assert.match((await gantry('run', '--rm', '--security-opt', 'apparmor=ghost', 'busybox', 'true')).err, /AppArmor profile ghost/)
  })
})
