/** Real input: a Debian root made by debootstrap runs dpkg, python3, nginx and PostgreSQL, reached through published ports; archives of other tools load. */
import assert from 'node:assert/strict'
import { createReadStream, existsSync, mkdirSync, rmSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { debianRoot } from '../debian-root.ts'
import { exec, importArchive, root, testDaemon, type TestDaemon, until } from '../harness.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false
describe('a Debian root as an image', { skip }, () => {
  let daemon: TestDaemon
  const gantry = (...args: readonly string[]) => exec(`${root}/build/node`, [`${root}/build/gantry.cjs`, '-H', daemon.host, ...args])
  const ok = async (...args: readonly string[]): Promise<string> => {
    const ran = await gantry(...args)
    assert.equal(ran.code, 0, `gantry ${args.join(' ')}: ${ran.err}`)
    return ran.out.trimEnd()
  }
  before(async () => {
    const archive = await debianRoot()
    daemon = await testDaemon()
    await importArchive(daemon, { repo: 'debian', tag: '12' }, createReadStream(archive))
  })
  after(async () => {
    for (const id of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', '-v', id)
    await disposeClean(daemon)
  })
  it('dpkg verifies what it installed: modes, owners and content came through', async () => {
    assert.equal(await ok('run', '--rm', 'debian:12', 'dpkg', '--verify', 'coreutils', 'dpkg', 'python3-minimal'), '')
    assert.equal(await ok('run', '--rm', 'debian:12', 'stat', '-c', '%a %U', '/usr/bin/su'), '4755 root')
  })
  it('python3 as another user', async () => assert.equal(await ok('run', '--rm', '-u', 'www-data', 'debian:12', 'python3', '-c', 'import os; print(os.getuid(), sum(range(10)))'), '33 45'))
  it('nginx through a published port', async () => {
    await ok('run', '-d', '--name', 'nginx', '-p', '18280:80', 'debian:12', 'nginx', '-g', 'daemon off;')
    await until('nginx answers', async () => /Welcome to nginx/.test((await exec('nsenter', ['--net', '-t', String(daemon.holder), '/bin/busybox', 'wget', '-qO-', 'http://127.0.0.1:18280/'])).out))
    await ok('stop', 'nginx')
    assert.equal(await ok('inspect', '-f', '{{.State.ExitCode}}', 'nginx'), '0')
  })
  it('PostgreSQL: start, a query over the published port, a clean stop', async () => {
    const start = 'install -d -o postgres /run/postgresql && exec su postgres -c "/usr/lib/postgresql/15/bin/postgres -D /etc/postgresql/15/main -c listen_addresses=* -c config_file=/etc/postgresql/15/main/postgresql.conf"'
    await ok('run', '-d', '--name', 'pg', '-p', '15432:5432', '--shm-size', '256m', 'debian:12', 'sh', '-c', start)
    await until('the server is ready', async () => (await gantry('exec', '-u', 'postgres', 'pg', 'psql', '-tAc', 'select 6*7')).out.trim() === '42', 30_000)
    await until('the port answers', async () => (await exec('nsenter', ['--net', '-t', String(daemon.holder), '/bin/busybox', 'nc', '-w', '1', '127.0.0.1', '15432', '-e', '/bin/true'])).code === 0)
    assert.equal((await gantry('exec', '-u', 'postgres', 'pg', 'sh', '-c', 'psql -qc "create table t as select generate_series(1,1000) n" && psql -tAc "select sum(n) from t"')).out.trim(), '500500')
    await ok('stop', 'pg')
  })
  it('an archive that skopeo wrote loads and runs', async (context) => {
    if (!existsSync('/usr/bin/skopeo')) return context.skip('no skopeo on this machine')
    const [plain, oci] = [`${daemon.home}/plain.tar`, `${daemon.home}/oci.tar`]
    await ok('save', '-o', plain, 'busybox')
    for (const target of [`oci-archive:${oci}:from-skopeo:1`, `docker-archive:${oci}2:from-skopeo:2`]) {
      const copied = await exec('skopeo', ['--insecure-policy', 'copy', `docker-archive:${plain}`, target])
      assert.equal(copied.code, 0, copied.err)
    }
    assert.match(await ok('load', '-i', oci), /Loaded image: from-skopeo:1/)
    assert.match(await ok('load', '-i', `${oci}2`), /Loaded image: from-skopeo:2/)
    assert.equal(await ok('run', '--rm', 'from-skopeo:2', 'echo', 'loaded'), 'loaded')
  })
})
