import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { promisify } from 'node:util'
import { createTransport, type Transport } from '../packages/api/src/index.ts'

const run = promisify(execFile)
export const root = new URL('..', import.meta.url).pathname.replace(/\/$/, '')
const READY_MS = 30_000

/** A daemon of its own: state, cgroups, bridge and network namespace. */
export interface TestDaemon {
  readonly host: string
  readonly api: Transport
  readonly home: string
  readonly name: string
  readonly cgroupParent: string
  /** The process that keeps the network namespace. */
  readonly holder: number
  pid(): number
  start(): Promise<void>
  /** SIGTERM and wait. */
  stop(): Promise<void>
  /** SIGKILL and wait. */
  kill(): Promise<void>
  /** Stops everything and removes every trace. */
  dispose(): Promise<void>
  /** Runs a program inside the daemon's network namespace. */
  inside(...command: readonly string[]): Promise<string>
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits until something is true, at most so long. */
export async function until(what: string, check: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) if (await check()) return
  throw new Error(`waited in vain: ${what}`)
}

/** Folder of other engines and clients (`tools/peers.sh` fills one); empty where none is named. */
export const peers = process.env['GANTRY_PEERS'] ?? ''

/** A program of the peers, or undefined where it is not there. */
export function peer(program: string): string | undefined {
  const path = `${peers}/bin/${program}`
  return peers !== '' && existsSync(path) ? path : undefined
}

/** The genuine client of this machine, else that of the peers; undefined where there is none. */
export function dockerClient(): string | undefined {
  return (process.env['PATH'] ?? '').split(':').map((directory) => `${directory}/docker`).find((path) => existsSync(path)) ?? peer('docker')
}

/** What a program printed and how it ended. */
export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a program; never rejects for its exit code. */
export function exec(command: string, args: readonly string[], options: { readonly input?: string | Buffer; readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {}): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...options.env }, ...(options.cwd !== undefined && { cwd: options.cwd }) })
    const [out, err]: [Buffer[], Buffer[]] = [[], []]
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
    child.stdin.on('error', () => undefined)
    child.once('error', reject)
    child.once('close', (code) => resolve({ code: code ?? -1, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() }))
    child.stdin.end(options.input)
  })
}

/** Makes an image of an archive and reads the answer to its end: it goes on while the image is made. */
export async function importArchive(daemon: Pick<TestDaemon, 'api'>, query: Readonly<Record<string, string>>, body: AsyncIterable<Uint8Array> | Buffer): Promise<void> {
  const lines: string[] = []
  for await (const chunk of await daemon.api.send('POST', '/images/create', { query: { fromSrc: '-', ...query }, body, contentType: 'application/x-tar' })) lines.push(String(chunk))
  assert.doesNotMatch(lines.join(''), /"error"/)
}

/** Our own client on a daemon: `gantry` gives what it printed and its exit code, `ok` asserts success and gives the output without its last line feed. */
export function ownClient(daemon: () => Pick<TestDaemon, 'host'>): { gantry(...args: readonly string[]): Promise<Ran>; ok(...args: readonly string[]): Promise<string> } {
  const gantry = (...args: readonly string[]): Promise<Ran> => exec(`${root}/build/node`, ['--', `${root}/build/gantry.cjs`, '-H', daemon().host, ...args])
  const ok = async (...args: readonly string[]): Promise<string> => {
    const ran = await gantry(...args)
    assert.equal(ran.code, 0, `gantry ${args.join(' ')}: ${ran.err}`)
    return ran.out.trimEnd()
  }
  return { gantry, ok }
}

/** A process that holds a network namespace of its own; the caller ends it. */
export async function newNamespace(): Promise<ChildProcess> {
  const holder = spawn('unshare', ['--net', '/bin/busybox', 'sh', '-c', 'ip link set lo up && echo up && exec sleep 100000'], { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise<void>((resolve, reject) => {
    holder.stdout?.once('data', () => resolve())
    holder.once('exit', () => reject(new Error('cannot make a network namespace')))
  })
  return holder
}

/** Starts a program of ours in the daemon's network namespace and waits for its first line. */
export async function serveBeside(daemon: TestDaemon, ...words: readonly string[]): Promise<ChildProcess> {
  const child = spawn('nsenter', ['--net', '-t', String(daemon.holder), `${root}/build/node`, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => resolve())
    child.stderr?.once('data', () => resolve())
    child.once('exit', () => reject(new Error(`${words.join(' ')} has ended`)))
  })
  return child
}

/** A daemon that is there already, of whatever make: it is neither started nor stopped, and keeps what it has. */
export function foreignDaemon(host: string, pid: number): TestDaemon {
  const home = mkdtempSync('/tmp/gtest-')
  const not = (): Promise<never> => Promise.reject(new Error('this daemon is not ours'))
  return {
    host, home, holder: pid, name: '', cgroupParent: '', api: createTransport({ host }), pid: () => pid, start: not, stop: not, kill: not,
    inside: async (...command) => (await run('nsenter', ['--net', '-t', String(pid), ...command])).stdout,
    dispose: async () => rmSync(home, { recursive: true, force: true }),
  }
}

/** Where a daemon is going to be. */
export type Place = Pick<TestDaemon, 'home' | 'cgroupParent' | 'holder'>

/** Makes a daemon and starts it; `before` may start something else first and gives further flags. `beside`: pid of the process whose network namespace it shares; otherwise it has its own. */
export async function testDaemon(words: readonly string[] = [], before: (place: Place) => Promise<readonly string[]> = async () => [], beside?: number): Promise<TestDaemon> {
  const home = mkdtempSync('/tmp/gtest-')
  const name = home.slice('/tmp/gtest-'.length).toLowerCase()
  const cgroupParent = `/gtest-${name}`
  const holder = beside === undefined ? await newNamespace() : undefined
  const host = `unix://${home}/g.sock`
  const api = createTransport({ host })
  const holderPid = beside ?? holder?.pid ?? 0
  const bridge = `gt${name}`
  const flags = [...words, ...(await before({ home, cgroupParent, holder: holderPid }))]
  let child: ChildProcess | undefined
  const answers = async (): Promise<boolean> => {
    if (child?.exitCode !== null && child?.exitCode !== undefined) throw new Error(`the daemon ended with ${child.exitCode}:\n${readFileSync(`${home}/log`, 'utf8').split('\n').slice(-5).join('\n')}`)
    return api.send('GET', '/_ping').then((response) => (response.resume(), true), () => false)
  }
  const gone = (): Promise<void> => new Promise((resolve) => (child === undefined || child.exitCode !== null || child.signalCode !== null ? resolve() : child.once('exit', () => resolve())))
  const daemon: TestDaemon = {
    host, api, home, name, cgroupParent, holder: holderPid,
    pid: () => child?.pid ?? 0,
    async start() {
      mkdirSync(home, { recursive: true })
      const log = openSync(`${home}/log`, 'a')
      child = spawn('nsenter', ['--net', '-t', String(holderPid), 'sh', `${root}/tools/gantryd.sh`, '-H', host, '--data-root', `${home}/data`, '--exec-root', `${home}/x`, '--pidfile', `${home}/pid`, '--cgroup-parent', cgroupParent, '--bridge', bridge, ...flags], { stdio: ['ignore', log, log] })
      closeSync(log)
      await until('the daemon answers', answers, READY_MS)
    },
    async stop() {
      child?.kill('SIGTERM')
      await gone()
    },
    async kill() {
      child?.kill('SIGKILL')
      await gone()
    },
    inside: async (...command) => (await run('nsenter', ['--net', '-t', String(holderPid), ...command])).stdout,
    async dispose() {
      if (child !== undefined && child.exitCode === null && child.signalCode === null) {
        const all = await api.json<readonly { Id: string }[]>('GET', '/containers/json', { query: { all: true } }).catch(() => [])
        for (const { Id } of all) await api.send('DELETE', `/containers/${Id}`, { query: { force: true, v: true } }).then((response) => response.resume(), () => undefined)
        await daemon.stop()
      }
      holder?.kill('SIGKILL')
      rmSync(home, { recursive: true, force: true })
    },
  }
  try {
    await daemon.start()
  } catch (error) {
    child?.kill('SIGKILL')
    holder?.kill('SIGKILL')
    rmSync(home, { recursive: true, force: true })
    throw error
  }
  return daemon
}
