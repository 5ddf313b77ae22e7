import assert from 'node:assert/strict'
import { it } from 'node:test'
import { digestOf } from '@gantry/std'
import { parseChallenge } from './auth.ts'
import { parseManifest } from './manifest.ts'
import { MEDIA } from './media-types.ts'
import { choosePlatform, parsePlatform, platformFits } from './platform.ts'

const config = { mediaType: MEDIA.ociConfig, digest: digestOf('{}'), size: 2 }

it('parseManifest() reads images and indexes and names what is wrong', () => {
  const read = (document: unknown, type: string = MEDIA.ociManifest): unknown => parseManifest(Buffer.from(JSON.stringify(document)), type)
  assert.equal((read({ schemaVersion: 2, config, layers: [] }) as { kind: string }).kind, 'manifest')
  assert.equal((read({ schemaVersion: 2, manifests: [] }, MEDIA.ociIndex) as { kind: string }).kind, 'index')
  assert.throws(() => read({ schemaVersion: 1 }), /schema 1, which is not supported/)
  assert.throws(() => read({ schemaVersion: 2, config, layers: [], manifests: [] }), /both "manifests" and/)
  assert.throws(() => read({ schemaVersion: 2, config, layers: [{ digest: 'md5:1', size: 1 }] }), /layers\[0\]\.digest: expected sha256/)
  assert.throws(() => read({ schemaVersion: 2, config, layers: [{ ...config, size: -1 }] }), /layers\[0\]\.size/)
  assert.throws(() => parseManifest(Buffer.from('nothing'), ''), /not JSON/)
})
it('choosePlatform() takes the exact variant, else an older one; attestations never', () => {
  const one = (architecture: string, variant: string | undefined, name: string): { digest: string; size: number; platform: { architecture: string; os: string; variant?: string } } => ({ digest: digestOf(name), size: 1, platform: { architecture, os: architecture === 'unknown' ? 'unknown' : 'linux', ...(variant !== undefined && { variant }) } })
  const list = [one('unknown', undefined, 'attestation'), one('arm', 'v6', 'v6'), one('arm', 'v7', 'v7'), one('amd64', undefined, 'amd64')]
  assert.equal(choosePlatform(list, parsePlatform('linux/arm/v7')).digest, digestOf('v7'))
  assert.equal(choosePlatform(list, parsePlatform('linux/arm/v6')).digest, digestOf('v6'))
  assert.equal(choosePlatform(list, parsePlatform('linux/x86_64')).digest, digestOf('amd64'))
  assert.throws(() => choosePlatform(list, parsePlatform('linux/s390x')), /no matching manifest for linux\/s390x .*there are: linux\/arm\/v6/)
  assert.ok(platformFits(parsePlatform('linux/arm64'), { os: 'linux', architecture: 'arm64', variant: 'v8' }))
  assert.throws(() => parsePlatform('a/b/c/d'), /invalid platform/)
})
it('parseChallenge() reads quoted and bare fields', () => {
  assert.deepEqual(parseChallenge('Bearer realm="https://x/y",service=z,scope="a,b"'), { scheme: 'bearer', realm: 'https://x/y', service: 'z', scope: 'a,b' })
  assert.equal(parseChallenge('Negotiate'), undefined)
})
