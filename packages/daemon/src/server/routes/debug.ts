import { getHeapSnapshot, getHeapStatistics } from 'node:v8'
import { EngineError } from '@gantry/std'
import type { DaemonEngine } from '../../jobs/jobs.ts'
import { type ApiRequest, numberOf } from '../request.ts'
import { sendJson } from '../respond.ts'
import type { Route } from '../router.ts'

const LONGEST_PROFILE_S = 120
const DEFAULT_PROFILE_S = 30

const text = ({ response }: ApiRequest, body: string): void => {
  response.writeHead(200, { 'Content-Type': 'text/plain; charset=utf-8', 'Content-Length': Buffer.byteLength(body) })
  response.end(body)
}

/** A CPU profile of the next seconds, as developer tools read it (`.cpuprofile`). */
async function profile(request: ApiRequest): Promise<void> {
  const seconds = numberOf(request.query, 'seconds', DEFAULT_PROFILE_S)
  if (seconds < 1 || seconds > LONGEST_PROFILE_S) throw new EngineError('invalid', `seconds: expected 1 to ${LONGEST_PROFILE_S}, got ${seconds}`)
  const { Session } = await import('node:inspector/promises')
  const session = new Session()
  session.connect()
  try {
    await session.post('Profiler.enable')
    await session.post('Profiler.start')
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000)
      request.signal.addEventListener('abort', () => (clearTimeout(timer), resolve()))
    })
    sendJson(request.response, 200, (await session.post('Profiler.stop')).profile)
  } finally {
    session.disconnect()
  }
}

/** Everything that lives, as developer tools read it (`.heapsnapshot`). */
async function heap({ response }: ApiRequest): Promise<void> {
  response.writeHead(200, { 'Content-Type': 'application/json' })
  for await (const chunk of getHeapSnapshot()) if (!response.write(chunk)) await new Promise((resolve) => response.once('drain', resolve))
  response.end()
}

/** What keeps the process busy: jobs, and kinds of things that are open. */
async function busy(engine: DaemonEngine): Promise<string> {
  const jobs = (await engine.run('system.jobs', {})) as readonly { readonly id: number; readonly name: string; readonly status: string; readonly ms: number }[]
  const kinds = new Map<string, number>()
  for (const kind of process.getActiveResourcesInfo()) kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  return `jobs:\n${jobs.map((job) => `  ${job.id} ${job.name} ${job.status} ${job.ms} ms\n`).join('')}\nopen:\n${[...kinds].sort().map(([kind, count]) => `  ${kind} ${count}\n`).join('')}`
}

const PAGES: readonly (readonly [name: string, what: string])[] = [['cmdline', 'the command line'], ['goroutine', 'jobs, and what is open'], ['heap', 'a snapshot of the heap (.heapsnapshot)'], ['profile', 'a CPU profile of ?seconds=30 (.cpuprofile)']]

/** `/debug`: only of a daemon that was started with `--debug`, as with dockerd. The profiles are those of Node. */
export function debugRoutes(engine: DaemonEngine, enabled: () => boolean): readonly Route[] {
  const route = (path: string, handle: Route['handle']): Route => ({
    method: 'GET', path,
    handle: async (request) => {
      if (!enabled()) throw new EngineError('not-found', 'page not found')
      await handle(request)
    },
  })
  return [
    route('/debug/vars', async ({ response }) => sendJson(response, 200, { cmdline: process.argv, memstats: { ...process.memoryUsage(), ...getHeapStatistics() }, uptime: process.uptime(), cpu: process.cpuUsage() })),
    route('/debug/pprof', async (request) => text(request, PAGES.map(([name, what]) => `/debug/pprof/${name}: ${what}\n`).join(''))),
    route('/debug/pprof/cmdline', async (request) => text(request, process.argv.join('\0'))),
    route('/debug/pprof/goroutine', async (request) => text(request, await busy(engine))),
    route('/debug/pprof/heap', heap),
    route('/debug/pprof/profile', profile),
  ]
}
