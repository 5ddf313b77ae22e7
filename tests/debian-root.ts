import assert from 'node:assert/strict'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { exec } from './harness.ts'

const CACHE = '/var/cache/gantry-tests'
const INCLUDE = 'python3-minimal,nginx-light,postgresql,redis-server'

/** A Debian root with servers in it as a tar archive; kept between runs, for it takes minutes. */
export async function debianRoot(): Promise<string> {
  const archive = `${CACHE}/debian-${INCLUDE.replaceAll(',', '-')}.tar`
  if (existsSync(archive)) return archive
  mkdirSync(CACHE, { recursive: true })
  if (!existsSync('/usr/sbin/debootstrap')) {
    await exec('apt-get', ['update', '-qq'])
    const installed = await exec('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'debootstrap', 'skopeo'])
    assert.equal(installed.code, 0, installed.err)
  }
  const work = `${CACHE}/work`
  rmSync(work, { recursive: true, force: true })
  const made = await exec('debootstrap', ['--variant=minbase', `--include=${INCLUDE}`, 'bookworm', work])
  assert.equal(made.code, 0, made.out.slice(-2000))
  const packed = await exec('tar', ['-C', work, '--numeric-owner', '--xattrs', '--exclude=./dev/*', '--exclude=./var/cache/apt/*', '--exclude=./var/lib/apt/lists/*', '-cf', archive, '.'])
  assert.equal(packed.code, 0, packed.err)
  rmSync(work, { recursive: true, force: true })
  return archive
}
