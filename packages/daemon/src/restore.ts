import { existsSync, readdirSync } from 'node:fs'
import type { Controller } from '@gantry/libnetwork'
import type { Graph } from '@gantry/graph'
import type { Host, Supervisor } from '@gantry/runtime'
import { logger } from '@gantry/std'
import type { Container } from './containers/container.ts'
import type { Lifecycle } from './containers/lifecycle.ts'
import { cgroupsPathOf } from './containers/spec/spec.ts'
import { etcDirectory } from './containers/spec/etc-files.ts'
import type { ContainerStore } from './containers/store.ts'

const log = logger('daemon.restore')

/** What coming back stands on. */
export interface RestorePorts {
  readonly store: ContainerStore
  readonly supervisor: Supervisor
  readonly networks: Controller
  readonly graph: Graph
  readonly host: Host
  readonly lifecycle: Lifecycle
  readonly execRoot: string
  remove(container: Container): Promise<void>
}

/** Finds again what runs, records what ended meanwhile, and sweeps what no record owns. */
export async function restore(ports: RestorePorts): Promise<void> {
  const { store, supervisor } = ports
  const candidates = store.list().filter((container) => container.state.status === 'running' || container.state.starting)
  const running = new Set<string>()
  const ended: (() => Promise<void>)[] = []
  for (const container of candidates) {
    const found = await supervisor.adopt(container.id, cgroupsPathOf(container.document))
    if (found.status === 'running') {
      running.add(container.id)
      Object.assign(container.state, { status: 'running', starting: false, pid: found.task.pid, startedAt: container.state.startedAt === '' ? String(BigInt(Date.now()) * 1_000_000n) : container.state.startedAt })
      ports.lifecycle.watch(container, found.task)
      store.save(container)
    } else ended.push(() => recordEnd(ports, container, found.status === 'ended' ? found.exit : undefined))
  }
  for (const id of running) {
    const container = store.get(id)
    if (container !== undefined) container.sandbox = await ports.networks.restore(id, container.state.pid)
  }
  // After that, so that the one batch holds the ports of what runs and none of them is ever missing.
  await ports.networks.start(running)
  for (const record of ended) await record()
  // What a build ran: the build is gone.
  for (const container of store.list().filter((one) => one.document.build === true)) {
    if (container.task !== undefined) {
      running.delete(container.id)
      const gone = new Promise<void>((resolve) => container.waiters.exit.add(() => resolve()))
      await ports.lifecycle.kill(container, 'SIGKILL')
      await gone
      await container.tidy
    }
    await ports.remove(container)
  }
  await sweep(ports, running)
  log.info('containers restored', { running: running.size, ended: ended.length })
}

/** A start that was cut off leaves a created container; a process that ended leaves its exit status; a lost one was killed. */
async function recordEnd(ports: RestorePorts, container: Container, exit: Parameters<Lifecycle['recordExit']>[1] | undefined): Promise<void> {
  const wasRunning = container.state.status === 'running'
  await ports.host.cgroups.destroy(container.id)
  if (!wasRunning && exit === undefined) {
    container.state.starting = false
    ports.store.save(container)
    ports.supervisor.driver.forget(container.id)
    if (container.document.hostConfig.AutoRemove) await ports.remove(container)
    return
  }
  await ports.lifecycle.recordExit(container, exit ?? { code: 137, oomKilled: false, at: BigInt(Date.now()) * 1_000_000n })
  ports.supervisor.driver.forget(container.id)
}

async function sweep(ports: RestorePorts, running: ReadonlySet<string>): Promise<void> {
  for (const id of ports.host.cgroups.names()) {
    if (running.has(id) || ports.store.get(id)?.task !== undefined) continue
    log.warn('removing a cgroup that no running container owns', { id })
    await ports.host.cgroups.destroy(id)
  }
  const directory = `${ports.execRoot}/c`
  for (const id of existsSync(directory) ? readdirSync(directory) : []) if (!running.has(id)) ports.supervisor.driver.forget(id)
  const etc = `${ports.execRoot}/etc`
  for (const id of existsSync(etc) ? readdirSync(etc) : []) if (!running.has(id)) ports.host.discarder.discard(etcDirectory(ports.execRoot, id))
  ports.graph.sweep(new Set(ports.store.list().map((container) => container.id)))
}
