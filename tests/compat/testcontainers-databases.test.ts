/** testcontainers' own modules for PostgreSQL and Redis, on images that are made of Debian packages. */
import assert from 'node:assert/strict'
import { createReadStream, writeFileSync } from 'node:fs'
import { it } from 'node:test'
import { NOTHING, settledCensus } from '../census.ts'
import { debianRoot } from '../debian-root.ts'
import { exec, importArchive, ownClient, testDaemon } from '../harness.ts'
import { judgesHome } from './judges.ts'

const home = process.getuid?.() === 0 ? await judgesHome('databases', ['@testcontainers/postgresql', '@testcontainers/redis', 'pg', 'redis']) : undefined
const skip = process.getuid?.() !== 0 ? 'needs root' : home === undefined ? 'testcontainers cannot be fetched from npm' : false

/** What the modules expect of an image: variables that name a database, its user and password. */
const POSTGRES = `#!/bin/sh
set -e
data=/var/lib/postgresql/gtest
PATH=/usr/lib/postgresql/15/bin:$PATH
if [ ! -e $data ]; then
  install -d -o postgres -m 700 $data
  printf %s "$POSTGRES_PASSWORD" > /tmp/password
  chown postgres /tmp/password
  su postgres -c "$(command -v initdb) -D $data -U $POSTGRES_USER --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 --no-sync" > /dev/null
  echo "host all all all scram-sha-256" >> $data/pg_hba.conf
  su postgres -c "$(command -v pg_ctl) -D $data -w start -o '-c listen_addresses='" > /dev/null
  createdb -h /var/run/postgresql -U "$POSTGRES_USER" "$POSTGRES_DB"
  su postgres -c "$(command -v pg_ctl) -D $data -w stop" > /dev/null
fi
shift
exec su postgres -c "exec $(command -v postgres) -D $data -c listen_addresses='*' $*"
`

/** Runs in the daemon's network namespace. */
const SCRIPT = `
const { PostgreSqlContainer } = require('@testcontainers/postgresql')
const { RedisContainer } = require('@testcontainers/redis')
const { Client } = require('pg')
const { createClient } = require('redis')
const assert = require('node:assert/strict')
async function main() {
  const [postgres, redis] = await Promise.all([new PostgreSqlContainer('gtest-postgres').withDatabase('shop').withUsername('me').withPassword('secret').start(), new RedisContainer('gtest-redis').start()])
  const client = new Client({ connectionString: postgres.getConnectionUri() })
  await client.connect()
  await client.query('create table things (name text)')
  await client.query("insert into things select 'thing ' || n from generate_series(1, 1000) n")
  assert.equal((await client.query('select count(*)::int as count from things')).rows[0].count, 1000)
  await client.end()
  await postgres.snapshot()
  const again = new Client({ connectionString: postgres.getConnectionUri() })
  await again.connect()
  await again.query('drop table things')
  await again.end()
  await postgres.restoreSnapshot()
  const last = new Client({ connectionString: postgres.getConnectionUri() })
  await last.connect()
  assert.equal((await last.query('select count(*)::int as count from things')).rows[0].count, 1000)
  await last.end()
  const store = createClient({ url: redis.getConnectionUrl() })
  await store.connect()
  await store.set('key', 'value')
  assert.equal(await store.get('key'), 'value')
  await store.close()
  assert.equal((await redis.executeCliCmd('get', ['key'])).trim(), 'value')
  await Promise.all([postgres.stop(), redis.stop()])
  console.log('all is well')
}
main().catch((error) => { console.error(error); process.exit(1) })
`

it('testcontainers: PostgreSQL and Redis', { skip }, async () => {
  const daemon = await testDaemon()
  const { ok } = ownClient(() => daemon)
  try {
    await importArchive(daemon, { repo: 'debian', tag: '12' }, createReadStream(await debianRoot()))
    const image = async (name: string, script: string, changes: readonly string[]): Promise<void> => {
      await ok('run', '--name', 'made', '-e', `SCRIPT=${script}`, 'debian:12', 'sh', '-c', 'printf %s "$SCRIPT" > /entrypoint; chmod 755 /entrypoint')
      await ok('commit', ...changes.flatMap((one) => ['-c', one]), 'made', name)
      await ok('rm', 'made')
    }
    await image('gtest-postgres', POSTGRES, ['ENTRYPOINT ["/entrypoint"]', 'CMD ["postgres"]', 'EXPOSE 5432'])
    await image('gtest-redis', '#!/bin/sh\nexec "$@" --bind 0.0.0.0 --protected-mode no\n', ['ENTRYPOINT ["/entrypoint"]', 'CMD ["redis-server"]', 'EXPOSE 6379'])
    const script = `${home}/script.cjs`
    writeFileSync(script, SCRIPT)
    const { code, out, err } = await exec('nsenter', ['--net', '-t', String(daemon.holder), process.execPath, script], { env: { ...process.env, DOCKER_HOST: daemon.host, TESTCONTAINERS_RYUK_DISABLED: 'true', TESTCONTAINERS_HOST_OVERRIDE: '127.0.0.1' } })
    assert.equal(code, 0, `${out}${err}`)
    assert.deepEqual(await daemon.api.json('GET', '/containers/json', { query: { all: true } }), [])
    assert.deepEqual(await settledCensus(daemon), NOTHING)
  } finally {
    await daemon.dispose()
  }
})
