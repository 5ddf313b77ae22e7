/** The design answers D1 to D7 to known classes of escapes, each attacked from inside a container. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { NOTHING, settledCensus } from '../census.ts'
import { exec, ownClient, root, type TestDaemon, testDaemon } from '../harness.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false
const RACES = 40

describe('hardening', { skip }, () => {
  let daemon: TestDaemon
  let outside = ''
  const { gantry, ok } = ownClient(() => daemon)
  const run = (script: string, ...flags: readonly string[]): Promise<string> => ok('run', '--rm', ...flags, 'busybox', 'sh', '-c', script)
  before(async () => {
    daemon = await testDaemon()
    outside = `/tmp/gtest-outside-${process.pid}`
    mkdirSync(`${outside}/shared`, { recursive: true })
    writeFileSync(`${outside}/secret`, 'of the host\n')
  })
  after(async () => {
    for (const id of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', '-v', id)
    const left = await settledCensus(daemon)
    await daemon.dispose()
    rmSync(outside, { recursive: true, force: true })
    assert.deepEqual(left, NOTHING)
  })

  describe('D1: paths are resolved inside the root, on descriptors', () => {
    it('cp against a directory that becomes a link to the host’s and back (CVE-2018-15664, CVE-2026-42306)', async () => {
      await ok('run', '-d', '--name', 'swap', 'busybox', 'sh', '-c', `mkdir -p /real; echo inside > /real/secret; ln -s ${outside} /link; while :; do ln -sfn ${outside} /x; rm -f /x; mkdir /x; cp /real/secret /x/secret; rm -rf /x; done`)
      writeFileSync(`${outside}/sent`, 'sent\n')
      for (let n = 0; n < RACES; n++) {
        const read = await exec('sh', ['-c', `${process.execPath} ${root}/build/gantry.cjs -H ${daemon.host} cp swap:/x/secret - 2>/dev/null | tar -xOf - 2>/dev/null`])
        assert.doesNotMatch(read.out, /of the host/)
        await gantry('cp', `${outside}/sent`, `swap:/x/written-${n}`)
      }
      await ok('rm', '-f', 'swap')
      assert.deepEqual(readdirSync(outside).filter((name) => name.startsWith('written')), [])
    })
    it('mount points below a shared volume whose directories are exchanged for links (CVE-2021-30465, CVE-2024-45310)', async () => {
      await ok('run', '-d', '--name', 'racer', '-v', `${outside}/shared:/v`, 'busybox', 'sh', '-c', 'cd /v; while :; do mkdir -p d/sub; mv d d2; ln -s / d; rm d; mv d2 d; done')
      const before = readdirSync('/').sort()
      for (let n = 0; n < RACES; n++) await gantry('run', '--rm', '-v', `${outside}/shared:/v`, '--tmpfs', '/v/d/sub', '-v', `${outside}/secret:/v/d/gtest-planted-${process.pid}`, 'busybox', 'true')
      await ok('rm', '-f', 'racer')
      assert.deepEqual(readdirSync('/').sort(), before, 'nothing has been made in the host’s root')
      assert.equal(existsSync(`/gtest-planted-${process.pid}`), false)
    })
    it('a volume on a path that is a link to / stays inside', async () => assert.equal(await run(`cat /up${outside}/secret; ls /up${outside}`, '-v', `${outside}/secret:/up${outside}/secret:ro`), 'of the host\nsecret'))
  })

  describe('D2: nothing of the container is run or loaded by the house', () => {
    it('hostile ps, tar, xz, sh and name services (CVE-2019-14271, CVE-2022-1227, CVE-2026-41567)', async () => {
      const trap = `#!/bin/busybox sh\necho ran > ${outside}/owned; echo ran > /owned\n`
      writeFileSync(`${outside}/trap`, trap, { mode: 0o755 })
      await ok('run', '-d', '--name', 'hostile', '-v', `${outside}/trap:/trap:ro`, 'busybox', '/bin/busybox', 'sh', '-c', 'for p in bin/ps bin/tar bin/xz bin/unpigz bin/gzip lib/libnss_files.so.2 etc/nsswitch.conf bin/sh; do busybox mkdir -p /lib; busybox rm -f /$p; busybox cp /trap /$p; done; exec /bin/busybox sleep 1000')
      await ok('top', 'hostile')
      await exec('sh', ['-c', `${process.execPath} ${root}/build/gantry.cjs -H ${daemon.host} cp hostile:/etc - > /dev/null`])
      await ok('exec', '-u', 'root', 'hostile', '/bin/busybox', 'true')
      await ok('stop', '-t', '0', 'hostile')
      await exec('sh', ['-c', `${process.execPath} ${root}/build/gantry.cjs -H ${daemon.host} export hostile > /dev/null`])
      assert.equal(existsSync(`${outside}/owned`), false)
      assert.doesNotMatch(await ok('diff', 'hostile'), /\/owned/)
      await ok('rm', '-f', 'hostile')
    })
  })

  describe('D3: the helper is sealed, not to be traced, and leaks nothing', () => {
    const helper = `${root}/build/gantry-helper`
    const hash = (): string => createHash('sha256').update(readFileSync(helper)).digest('hex')
    it('what runs as launcher and shim is a sealed copy in memory (CVE-2019-5736)', async () => {
      await ok('run', '-d', '--name', 'box', 'busybox', 'sleep', '1000')
      const pid = Number(await ok('inspect', '-f', '{{.State.Pid}}', 'box'))
      const shim = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
      assert.match(readlinkSync(`/proc/${shim}/exe`), /memfd:gantry-helper/)
      assert.throws(() => writeFileSync(`/proc/${shim}/exe`, 'x'), /ETXTBSY|EPERM|EACCES/)
    })
    it('a container that writes to every /proc/PID/exe while execs come in changes nothing', async () => {
      const before = hash()
      await ok('exec', '-d', 'box', 'sh', '-c', 'while :; do for e in /proc/[0-9]*/exe; do (echo x > $e) 2>/dev/null && echo $e >> /overwritten; done; done')
      for (let n = 0; n < RACES; n++) await ok('exec', 'box', 'true')
      assert.equal(hash(), before)
      assert.equal((await gantry('exec', 'box', 'cat', '/overwritten')).code, 1)
    })
    it('a container that looks at every descriptor of every process during execs sees none of the host’s (CVE-2016-9962)', async () => {
      await ok('exec', '-d', 'box', 'sh', '-c', 'while :; do ls -l /proc/[0-9]*/fd /proc/[0-9]*/cwd 2>/dev/null | grep -E "gtest|gantry|cgroup|sock" >> /seen; done')
      for (let n = 0; n < RACES; n++) await ok('exec', 'box', 'true')
      assert.equal(await ok('exec', 'box', 'sh', '-c', 'grep -vE "/seen|/overwritten" /seen 2>/dev/null | wc -l'), '0')
      await ok('rm', '-f', 'box')
    })
    it('no working directory leads out through a descriptor, whatever its number (CVE-2024-21626)', async () => {
      for (let fd = 3; fd < 16; fd++) {
        const ran = await gantry('run', '--rm', '-w', `/proc/self/fd/${fd}`, 'busybox', 'sh', '-c', 'pwd -P; cat ../../../../etc/hostname')
        assert.ok(ran.code !== 0 || !ran.out.includes(readFileSync('/etc/hostname', 'utf8').trim()), `descriptor ${fd}: ${ran.out}`)
      }
    })
  })

  describe('D4: sizes, depths and ranges are checked before anything is made of them', () => {
    for (const [flags, words] of [
      [['--cpuset-cpus', '0-4294967295'], /Requested CPUs are not available|Invalid value/], [['-u', '4294967296'], /./], [['-u', '-1'], /./], [['-u', '2147483648:4294967297'], /./],
      [['--sysctl', 'kernel.shmmax=1', '--sysctl', 'kernel.core_pattern=|/x'], /not allowed/], [['--sysctl', 'net.ipv4.ip_forward/../../kernel/core_pattern=x'], /not allowed/], [['-h', 'h'.repeat(300)], /invalid hostname/],
    ] as const) it(`${flags.join(' ').slice(0, 60)} is refused (CVE-2018-20699, CVE-2022-0811, CVE-2024-40635)`, async () => {
      const ran = await gantry('run', '--rm', ...flags, 'busybox', 'id', '-u')
      assert.notEqual(ran.code, 0, ran.out)
      assert.match(ran.err, words)
    })
    it('values of 64 KiB and more arrive whole (CVE-2021-43784)', async () => {
      const value = 'v'.repeat(65_537)
      assert.equal((await run('printf %s "$LONG" | wc -c', '-e', `LONG=${value}`)).trim(), String(value.length))
    })
  })

  describe('D5: the state of the house is closed to others', () => {
    const asNobody = (...command: readonly string[]) => exec('setpriv', ['--reuid', '65534', '--regid', '65534', '--clear-groups', ...command])
    it('nobody walks into data, exec root or sockets (CVE-2021-41091, CVE-2014-3499)', async () => {
      await ok('run', '-d', '--name', 'kept', 'busybox', 'sleep', '1000')
      await exec('chmod', ['755', daemon.home])
      for (const path of [`${daemon.home}/data`, `${daemon.home}/x/c`, `${daemon.home}/x/rootfs`]) assert.notEqual((await asNobody('ls', path)).code, 0, path)
      const id = await ok('inspect', '-f', '{{.Id}}', 'kept')
      for (const path of [`${daemon.home}/x/c/${id}/s`, `${daemon.home}/x/streams.sock`]) assert.equal(statSync(path).mode & 0o077, statSync(path).mode & 0o077 & 0o055, path)
      assert.notEqual((await asNobody('sh', '-c', `ls ${daemon.home}/data/*/*`)).code, 0)
    })
    it('no socket has an abstract name (CVE-2020-15257)', async () => {
      const names = readFileSync('/proc/net/unix', 'utf8').split('\n').filter((line) => line.includes(' @') && line.includes('gantry'))
      assert.deepEqual(names, [])
      await ok('rm', '-f', 'kept')
    })
  })

  describe('D6: capabilities and groups are exactly what they should be', () => {
    const caps = 'grep -E "^Cap(Inh|Prm|Eff|Bnd|Amb)" /proc/self/status | cut -f2 | tr "\\n" " "'
    const NONE = '0000000000000000'
    const MASK = '00000000a80425fb'
    it('inheritable and ambient sets are empty for root and users, in execs too (CVE-2022-24769)', async () => {
      assert.equal(await run(caps), `${NONE} ${MASK} ${MASK} ${MASK} ${NONE}`)
      assert.equal(await run(caps, '-u', '1000'), `${NONE} ${NONE} ${NONE} ${MASK} ${NONE}`)
      await ok('run', '-d', '--name', 'caps', 'busybox', 'sleep', '1000')
      assert.equal(await ok('exec', 'caps', 'sh', '-c', caps), `${NONE} ${MASK} ${MASK} ${MASK} ${NONE}`)
      assert.equal(await ok('exec', '-u', '1000', 'caps', 'sh', '-c', caps), `${NONE} ${NONE} ${NONE} ${MASK} ${NONE}`)
      await ok('rm', '-f', 'caps')
    })
    it('groups: of the user, by number, with and without a group, with --group-add (CVE-2022-36109)', async () => {
      for (const [flags, groups] of [[[], '0 10'], [['-u', '1000'], '0'], [['-u', '1000:1000'], '1000'], [['-u', '1000:1000', '--group-add', '44'], '1000 44'], [['--group-add', '44'], '0 10 44']] as const) assert.equal(await run('id -G', ...flags), groups, flags.join(' '))
    })
    it('a numeric user is a number, whatever the image calls its users (CVE-2016-3697)', async () => {
      await ok('run', '-d', '--name', 'names', 'busybox', 'sh', '-c', 'echo "1000:x:0:0::/:/bin/sh" >> /etc/passwd; sleep 1000')
      assert.equal(await ok('exec', '-u', '1000', 'names', 'id', '-u'), '1000')
      await ok('rm', '-f', 'names')
    })
  })

  describe('D7: the kernel’s files are closed by default', () => {
    it('the profile, probed from inside: no deviation', async () => {
      const deviations: string[] = []
      const probe = async (what: string, script: string, expected: string | RegExp): Promise<void> => {
        const got = (await run(script)).trim()
        if (typeof expected === 'string' ? got !== expected : !expected.test(got)) deviations.push(`${what}: ${got}`)
      }
      await probe('state', 'grep -E "NoNewPrivs|Seccomp:" /proc/self/status | cut -f2 | tr "\\n" " "; cat /proc/self/oom_score_adj; umask', /^0 2 0\n0022$/)
      await probe('masked files', 'for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do [ -e $f ] && stat -c %t:%T $f; done | sort -u', '1:3')
      await probe('masked directories', 'for d in /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/devices/virtual/powercap; do [ -d $d ] && ls -A $d; done | wc -l', '0')
      await probe('read-only paths', 'for d in /proc/bus /proc/fs /proc/irq /proc/sys; do [ -d $d ] && grep " $d " /proc/self/mountinfo | cut -d" " -f6 | cut -d, -f1; done | sort -u', 'ro')
      await probe('sysrq-trigger', '(echo h > /proc/sysrq-trigger) 2>&1; true', /Read-only|nonexistent/)
      await probe('devices', 'ls /dev | tr "\\n" " "', 'core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero')
      await probe('mount options', `awk '$5=="/proc"||$5=="/sys"||$5=="/dev"||$5=="/dev/pts"||$5=="/dev/shm"||$5=="/dev/mqueue"{print $5, $6}' /proc/self/mountinfo | sort`, '/dev rw,nosuid\n/dev/mqueue rw,nosuid,nodev,noexec,relatime\n/dev/pts rw,nosuid,noexec,relatime\n/dev/shm rw,nosuid,nodev,noexec,relatime\n/proc rw,nosuid,nodev,noexec,relatime\n/sys ro,nosuid,nodev,noexec,relatime')
      await probe('settings', 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range | tr "\\t\\n" "  "', '0 0 2147483647')
      for (const name of ['mnt', 'pid', 'net', 'ipc', 'uts']) {
        if ((await run(`readlink /proc/self/ns/${name}`)) === readlinkSync(`/proc/self/ns/${name}`)) deviations.push(`namespace ${name} is the host's`)
      }
      await probe('the clock', 'date -s 2000-01-01 2>&1; true', /not permitted/)
      await probe('closed calls', 'for c in "mount -t tmpfs t /tmp" "unshare -m true" "swapon /x" "hostname other" "chroot /proc/1/root true; false"; do $c >/dev/null 2>&1 && echo open: $c; done; true', '')
      assert.deepEqual(deviations, [])
    })
    it('nothing is mounted over or below /proc (CVE-2019-16884)', async () => {
      for (const target of ['/proc', '/proc/self', '/proc/../proc/sys']) assert.match((await gantry('run', '--rm', '-v', `${outside}:${target}`, 'busybox', 'true')).err, /inside \/proc/)
    })
    it('/proc is procfs and /sys is sysfs, not something of the image', async () => assert.equal(await run('stat -f -c %T /proc /sys | tr "\\n" " "'), 'proc sysfs'))
  })
})
