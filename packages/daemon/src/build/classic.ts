import { type BuildOptions, check, solveBuild, wantsInlineCache } from '@gantry/builder'
import { familiarString, hostPlatform, parseReference } from '@gantry/registry'
import { EngineError } from '@gantry/std'
import type { BuildRequest } from '../jobs/build.ts'
import { openAgents } from './agents.ts'
import { reportOf } from './classic-report.ts'
import { exchangeOf, remoteCacheOf } from './classic-exchange.ts'
import { type ClassicPorts, contextOf, namedContexts } from './classic-sources.ts'
import { dockerfileIn, ignoredIn, withoutIgnored } from './dockerfile.ts'
import { finish } from './outputs.ts'
import { answerQuestion } from './questions.ts'
import { buildPorts, platformOf } from './sources.ts'

interface Asked {
  readonly input: BuildRequest
  readonly options: BuildOptions
  readonly ignores: (path: string) => boolean
}

/** Answers what is asked of a Dockerfile instead of a build. */
function answered({ input, options, ignores }: Asked): boolean {
  if (input.question !== '') {
    const answer = answerQuestion(input.question, options.dockerfile, input.buildArgs, { target: input.target, ignores })
    input.tell({ aux: { Answer: Object.fromEntries(Object.entries(answer).map(([name, value]) => [name, value.toString('utf8')])) } })
    return true
  }
  if (!input.check) return false
  const found = check(options, hostPlatform(), ignores)
  input.tell({ stream: found.text })
  // Clients end with it: what was found is told already.
  if (found.count > 0) throw Object.assign(new EngineError('invalid', `${found.count} warnings`), { exitCode: 1 })
  return true
}

/** Carries a request of the classic door out. */
export async function classicBuild({ ports, offers, secrets: ahead, agents: lines, outputs }: ClassicPorts, input: BuildRequest, body: AsyncIterable<Uint8Array> | undefined, signal: AbortSignal): Promise<{ readonly id: string }> {
  const names = input.tags.map((tag) => familiarString(parseReference(tag)))
  const tell = input.quiet ? () => undefined : input.tell
  const exchange = exchangeOf(ports, input.credentials, tell, signal)
  const held: Disposable[] = []
  try {
    const { context: received, dockerfile: text } = await contextOf(ports, offers, input, body, signal)
    if (received !== undefined) held.push(received)
    const dockerfile = text !== undefined ? { name: 'Dockerfile', bytes: text } : received === undefined ? undefined : dockerfileIn(received, input.dockerfile)
    if (dockerfile === undefined) throw new EngineError('invalid', 'a build needs a Dockerfile')
    const files = received === undefined ? undefined : withoutIgnored(received, dockerfile.name)
    const secrets = input.secrets === '' ? new Map<string, Buffer>() : ahead.take(input.secrets)
    using agents = openAgents(lines.of(input.agents), ports.execRoot, signal)
    const options: BuildOptions = {
      context: async () => files, contexts: namedContexts(ports, offers, input.contexts, signal, held), dockerfile, target: input.target, buildArgs: input.buildArgs, labels: input.labels, platform: platformOf(input.platform), askedPlatform: input.platform,
      noCache: input.noCache, noCacheStages: input.noCacheStages, remoteCache: await remoteCacheOf(exchange, input.cacheFrom), inlineCache: wantsInlineCache(input.buildArgs) || input.cacheTo.some((one) => one.Type === 'inline'),
      pull: input.pull, network: input.network === '' ? 'default' : input.network, hosts: input.hosts, resources: input.resources, entitlements: new Set([...ports.entitlements].filter((one) => one === 'network.host' || input.entitlements.includes(one))),
      secret: async (id) => secrets.get(id), ssh: (id, access) => agents.socket(id, access), signal,
    }
    if (answered({ input, options, ignores: received === undefined ? () => false : ignoredIn(received) })) return { id: '' }
    const result = await solveBuild(buildPorts(ports, { tell, credentials: exchange.credentials }), options, reportOf(input))
    if (input.outputs.length + input.cacheTo.length === 0) return { id: finish(ports, input, result, names) }
    const { answer, waiting } = await outputs.make(exchange, input, result, names)
    const id = answer['containerimage.config.digest'] ?? ''
    input.tell({ aux: { ID: id, Answer: answer, Outputs: waiting } })
    return { id }
  } finally {
    for (const one of held) one[Symbol.dispose]()
  }
}
