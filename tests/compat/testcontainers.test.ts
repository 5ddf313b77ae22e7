/** testcontainers starts what tests of others need: a server with its port, a network with names, files, waiting strategies. Without its reaper, whose image is not here. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { it } from 'node:test'
import { NOTHING, settledCensus } from '../census.ts'
import { exec, root, testDaemon } from '../harness.ts'
import { judge } from './judges.ts'

const library = process.getuid?.() === 0 ? await judge<object>('testcontainers') : undefined
const skip = process.getuid?.() !== 0 ? 'needs root' : library === undefined ? 'testcontainers cannot be fetched from npm' : false

/** Runs in the daemon's network namespace: the library connects to published ports by itself. */
const SCRIPT = `
const { GenericContainer, Network, Wait } = require('testcontainers')
const { get } = require('node:http')
const assert = require('node:assert/strict')
const fetchText = (url) => new Promise((ok, no) => get(url, (answer) => { let text = ''; answer.on('data', (part) => (text += part)); answer.on('end', () => ok(text)) }).on('error', no))
async function main() {
  const network = await new Network().start()
  const web = await new GenericContainer('busybox').withCommand(['sh', '-c', 'echo ready; httpd -f -p 80 -h /www']).withCopyContentToContainer([{ content: 'copied', target: '/www/index.html' }])
    .withExposedPorts(80).withNetwork(network).withNetworkAliases('web').withEnvironment({ A: 'b' }).withLabels({ l: 'v' }).withWaitStrategy(Wait.forAll([Wait.forLogMessage('ready'), Wait.forHttp('/', 80)])).start()
  assert.equal(await fetchText('http://' + web.getHost() + ':' + web.getMappedPort(80) + '/'), 'copied')
  const ran = await web.exec(['sh', '-c', 'echo $A; exit 3'])
  assert.deepEqual([ran.output.trim(), ran.exitCode], ['b', 3])
  const other = await new GenericContainer('busybox').withCommand(['sleep', '1000']).withNetwork(network).withTmpFs({ '/t': 'size=1m' }).withUser('7').start()
  assert.equal((await other.exec(['wget', '-q', '-O-', 'http://web'])).output.trim(), 'copied')
  assert.equal((await other.exec(['id', '-u'])).output.trim(), '7')
  await web.restart()
  assert.equal(await fetchText('http://' + web.getHost() + ':' + web.getMappedPort(80) + '/'), 'copied')
  const logs = await web.logs()
  let said = ''
  logs.on('data', (part) => (said += part))
  while (!said.includes('ready')) await new Promise((done) => setTimeout(done, 20))
  logs.destroy()
  const healthy = await new GenericContainer('busybox').withCommand(['sleep', '1000']).withHealthCheck({ test: ['CMD-SHELL', 'true'], interval: 200 }).withWaitStrategy(Wait.forHealthCheck()).start()
  const ended = await new GenericContainer('busybox').withCommand(['sh', '-c', 'echo once']).withWaitStrategy(Wait.forOneShotStartup()).start()
  await assert.rejects(new GenericContainer('busybox').withCommand(['nosuch']).start(), /executable file not found/)
  for (const one of [ended, healthy, other, web]) await one.stop()
  await network.stop()
  console.log('all is well')
}
main().catch((error) => { console.error(error); process.exit(1) })
`

it('testcontainers: ports, names, files, waiting, health', { skip }, async () => {
  const daemon = await testDaemon()
  try {
    const script = `${root}/build/judges/testcontainers/script.cjs`
    writeFileSync(script, SCRIPT)
    const { code, out, err } = await exec('nsenter', ['--net', '-t', String(daemon.holder), process.execPath, script], { env: { ...process.env, DOCKER_HOST: daemon.host, TESTCONTAINERS_RYUK_DISABLED: 'true', TESTCONTAINERS_HOST_OVERRIDE: '127.0.0.1' } })
    assert.equal(code, 0, `${out}${err}`)
    for (const id of (await daemon.api.json<readonly { readonly Id: string }[]>('GET', '/containers/json', { query: { all: true } })).map((one) => one.Id)) await daemon.api.send('DELETE', `/containers/${id}`, { query: { force: true } }).then((answer) => answer.resume())
    assert.deepEqual(await settledCensus(daemon), NOTHING)
  } finally {
    await daemon.dispose()
  }
})
