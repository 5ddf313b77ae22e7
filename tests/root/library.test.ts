/** The examples of docs/library.md run as they stand and print what their comments say. */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { exec, ownClient, root, type TestDaemon, testDaemon } from '../harness.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'
const page = readFileSync(`${root}/docs/library.md`, 'utf8')
const examples = [...page.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? '')

describe('the library', { skip }, () => {
  let daemon: TestDaemon
  const { ok } = ownClient(() => daemon)
  // Inside the checkout, where the packages are found by their names.
  const place = `${root}/build/examples`
  before(async () => {
    daemon = await testDaemon()
    mkdirSync(place, { recursive: true })
  })
  after(async () => {
    rmSync(place, { recursive: true })
    await disposeClean(daemon)
  })
  for (const [index, example] of examples.entries()) {
    it(`example ${index + 1}`, async () => {
      const file = `${place}/${index}.ts`
      writeFileSync(file, example)
      const wanted = [...example.matchAll(/console\.log\(.*\) ?\)? *\/\/ (.*)$/gm)].map((match) => match[1])
      const ran = await exec(process.execPath, [file], { env: { DOCKER_HOST: daemon.host } })
      assert.deepEqual([ran.code, ran.err], [0, ''])
      assert.deepEqual(ran.out.trim().split('\n').toSorted(), wanted.toSorted())
      assert.equal(await ok('ps', '-aq'), '')
    })
  }
  it('has all its examples', () => assert.equal(examples.length, 3))
})
