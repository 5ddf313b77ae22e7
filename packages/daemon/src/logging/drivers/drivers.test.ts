import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { LogLine } from '../read.ts'
import { parseAddress } from './connect.ts'
import { fluentRecord } from './fluentd.ts'
import { gelfChunks, gelfMessage } from './gelf.ts'
import { journalEntry } from './journald.ts'
import { SYSLOG, syslogMessage } from './syslog.ts'

const LINE: LogLine = { stream: 'stderr', text: 'it broke\n', time: '2026-02-03T04:05:06.789012345Z' }
const SOURCE = { id: 'a'.repeat(64), name: 'web', imageId: 'sha256:1', imageName: 'nginx', command: 'nginx -g', created: '2026-01-01T00:00:00.000Z', tag: 'web/1', attributes: { team: 'red', tag: 'web/1' }, hostname: 'here' }

it('syslogMessage() has priority, time and tag as each format wants them', () => {
  assert.match(syslogMessage(LINE, 3, 'rfc3164', SOURCE), /^<27>Feb {2}3 \d\d:05:06 here web\/1\[\d+\]: it broke$/)
  assert.match(syslogMessage(LINE, 16, 'rfc5424', SOURCE), /^<131>1 2026-02-03T04:05:06Z here web\/1 \d+ web\/1 - it broke$/)
  assert.match(syslogMessage(LINE, 16, 'rfc5424micro', SOURCE), /T04:05:06\.789012Z here/)
  assert.match(syslogMessage({ ...LINE, stream: 'stdout' }, 3, '', SOURCE), /^<30>Feb {2}3 \d\d:05:06 web\/1\[\d+\]: it broke$/)
})
it('addresses and options that cannot be are refused by name', () => {
  assert.deepEqual(parseAddress('tcp+tls://[::1]:6514', 'syslog-address', ['udp', 'tcp+tls'], 514), { scheme: 'tcp+tls', host: '::1', port: 6514, path: '' })
  assert.deepEqual(parseAddress('unix:///run/x', 'a', ['unix'], 1).path, '/run/x')
  for (const bad of ['http://x', 'udp://:1', 'udp://x:70000', 'unix://relative']) assert.throws(() => parseAddress(bad, 'syslog-address', ['udp', 'unix'], 514), /syslog-address/, bad)
  assert.throws(() => SYSLOG.check({ 'syslog-facility': 'nosuch' }), /invalid syslog facility: "nosuch"/)
  assert.throws(() => SYSLOG.check({ 'syslog-format': 'x' }), /invalid syslog format/)
})
it('journalEntry() writes fields; those with line feeds have a length', () => {
  const entry = journalEntry({ ...LINE, text: 'one\ntwo\n' }, SOURCE)
  assert.ok(entry.includes(Buffer.from('MESSAGE\n\x07\0\0\0\0\0\0\0one\ntwo\n')))
  for (const field of ['PRIORITY=3', 'CONTAINER_NAME=web', `CONTAINER_ID=${'a'.repeat(12)}`, 'TEAM=red', 'IMAGE_NAME=nginx', 'SYSLOG_IDENTIFIER=web/1']) assert.ok(entry.includes(`${field}\n`), field)
  assert.ok(journalEntry({ ...LINE, text: 'cut' }, SOURCE).includes('CONTAINER_PARTIAL_MESSAGE=true\n'))
})
it('GELF messages carry the container, and long ones come in chunks', () => {
  const message = JSON.parse(gelfMessage(LINE, SOURCE)) as Record<string, unknown>
  assert.deepEqual([message['version'], message['short_message'], message['level'], message['_container_name'], message['_team'], message['timestamp']], ['1.1', 'it broke', 3, 'web', 'red', 1_770_091_506.789])
  const chunks = gelfChunks(Buffer.alloc(3000, 'x'), Buffer.from('12345678'))
  assert.deepEqual(chunks.map((chunk) => [chunk.length, chunk.readUInt16BE(0), chunk[10], chunk[11]]), [[1420, 0x1e0f, 0, 3], [1420, 0x1e0f, 1, 3], [196, 0x1e0f, 2, 3]])
  assert.throws(() => gelfChunks(Buffer.alloc(200_000)), /more than 128 chunks/)
})
it('fluentRecord() has what Docker’s driver sends', () => {
  assert.deepEqual(fluentRecord(LINE, SOURCE), { container_id: SOURCE.id, container_name: '/web', source: 'stderr', log: 'it broke', team: 'red' })
  assert.equal(fluentRecord({ ...LINE, text: 'cut' }, SOURCE)['partial_message'], 'true')
})
