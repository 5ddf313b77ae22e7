import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { after, before, describe, it } from 'node:test'
import { openPlugin } from './plugin.ts'

describe('volume plugins', () => {
  let home = ''
  let server: Server
  const calls: string[] = []
  const answers: Record<string, unknown> = { '/Plugin.Activate': { Implements: ['VolumeDriver'] }, '/VolumeDriver.Mount': { Mountpoint: '/mnt/v', Err: '' } }
  before(async () => {
    home = mkdtempSync('/tmp/gtest-')
    server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => {
        body += String(chunk)
      })
      request.on('end', () => {
        calls.push(`${request.url} ${body}`)
        response.end(JSON.stringify(answers[request.url ?? ''] ?? { Err: '' }))
      })
    })
    await new Promise<void>((resolve) => server.listen(`${home}/mine.sock`, resolve))
  })
  after(() => {
    server.close()
    rmSync(home, { recursive: true })
  })
  it('are activated, and asked in the documented words', async () => {
    const plugin = await openPlugin('mine', home)
    await plugin.create('v', { size: '1g' })
    assert.equal(await plugin.mount('v', 'me'), '/mnt/v')
    await plugin.unmount('v', 'me')
    await plugin.remove('v')
    assert.deepEqual(calls, ['/Plugin.Activate {}', '/VolumeDriver.Create {"Name":"v","Opts":{"size":"1g"}}', '/VolumeDriver.Mount {"Name":"v","ID":"me"}', '/VolumeDriver.Unmount {"Name":"v","ID":"me"}', '/VolumeDriver.Remove {"Name":"v"}'])
  })
  it('that are not there, are no drivers of volumes, fail or lie say so', async () => {
    await assert.rejects(openPlugin('other', home), /error looking up volume plugin other: plugin "other" not found/)
    await assert.rejects(openPlugin('../evil', home), /not found/)
    answers['/VolumeDriver.Create'] = { Err: 'no space' }
    await assert.rejects((await openPlugin('mine', home)).create('v', {}), /VolumeDriver\.Create: no space/)
    answers['/VolumeDriver.Mount'] = { Mountpoint: 'relative' }
    await assert.rejects((await openPlugin('mine', home)).mount('v', 'x'), /expected an absolute Mountpoint/)
    answers['/Plugin.Activate'] = { Implements: ['NetworkDriver'] }
    await assert.rejects(openPlugin('mine', home), /plugin does not implement "VolumeDriver"/)
    writeFileSync(`${home}/dead.sock`, '')
    await assert.rejects(openPlugin('dead', home), /the plugin does not answer/)
  })
})
