import { writeFileSync } from 'node:fs'
import { jsonLines } from '@gantry/api'
import { asObject, EngineError, parseBytes } from '@gantry/std'
import { offerOf, sendAhead } from './ahead.ts'
import { contextOf } from './context.ts'
import { cacheOf, fetchOutputs, outputsOf, type WaitingOutput } from './outputs.ts'
import { buildView, type StepEvent } from './show.ts'
import type { Command, Context } from '../command.ts'
import { configDirectory, openConfig } from '../config-file.ts'
import { openCredentials, serverNamed } from '../credentials.ts'
import type { Flag, Parsed } from '../flags.ts'
import { UsageError } from '../flags.ts'
import { proxyVariables, ulimits } from '../commands/create-body.ts'

const notMade = (value: string): string | undefined => (value === 'false' ? undefined : 'attestations are not made by this version: expected false')

const FLAGS: readonly Flag[] = [
  { name: 'add-host', kind: 'list', help: 'Add a custom host-to-IP mapping (host:ip)' },
  { name: 'allow', kind: 'list', help: 'Rights beyond those of any build (network.host, security.insecure)' },
  { name: 'build-arg', kind: 'list', help: 'Set build-time variables' },
  { name: 'cache-from', kind: 'list', help: 'Caches of other builds (NAME, type=registry,ref=NAME)' },
  { name: 'cache-to', kind: 'list', help: 'Where what the steps came to goes (NAME, type=registry,ref=NAME,mode=max, type=inline)' },
  { name: 'call', kind: 'text', help: 'What is asked of the Dockerfile instead of a build (check, outline, targets)' },
  { name: 'build-context', kind: 'list', help: 'Additional contexts (name=path, name=docker-image://image, name=URL)' },
  { name: 'cgroup-parent', kind: 'text', help: 'Parent cgroup of the steps' },
  { name: 'check', kind: 'bool', help: 'Look the Dockerfile through and build nothing' },
  { name: 'cpu-period', kind: 'number', help: 'Period of the CPU scheduler (microseconds)' },
  { name: 'cpu-quota', kind: 'number', help: 'CPU time in a period (microseconds)' },
  { name: 'cpu-shares', short: 'c', kind: 'number', help: 'CPU shares (relative weight)' },
  { name: 'cpuset-cpus', kind: 'text', help: 'CPUs in which to run (0-3, 0,1)' },
  { name: 'cpuset-mems', kind: 'text', help: 'Memory nodes in which to run (0-3, 0,1)' },
  { name: 'disable-content-trust', kind: 'bool', help: 'Skip image verification' },
  { name: 'file', short: 'f', kind: 'text', help: 'Name of the Dockerfile (PATH/Dockerfile)' },
  { name: 'force-rm', kind: 'bool', help: 'Always remove intermediate containers: they always are' },
  { name: 'iidfile', kind: 'text', help: 'Write the image ID to a file' },
  { name: 'isolation', kind: 'text', help: 'Container isolation technology' },
  { name: 'label', kind: 'list', help: 'Set metadata for an image' },
  { name: 'load', kind: 'bool', help: 'Keep the image here, whatever else --output says' },
  { name: 'memory', short: 'm', kind: 'text', help: 'Memory limit of the steps' },
  { name: 'memory-swap', kind: 'text', help: 'Limit of memory and swap together; -1 for no limit of swap' },
  { name: 'metadata-file', kind: 'text', help: 'Write what came of the build to a file, as JSON' },
  { name: 'network', kind: 'text', help: 'Network of the RUN instructions (default, none, host or a name)' },
  { name: 'no-cache', kind: 'bool', help: 'Do not use the cache' },
  { name: 'no-cache-filter', kind: 'list', help: 'Stages that are built without the cache' },
  { name: 'output', short: 'o', kind: 'list', help: 'Where what is built goes (DIRECTORY, -, type=local|tar|oci|docker|image|registry,dest=PATH)' },
  { name: 'platform', kind: 'text', help: 'Platform of the image (os/architecture[/variant])' },
  { name: 'progress', kind: 'text', help: 'How steps are shown (auto, tty, plain, rawjson, quiet)', check: (value) => (['auto', 'tty', 'plain', 'rawjson', 'quiet'].includes(value) ? undefined : 'expected auto, tty, plain, rawjson or quiet') },
  { name: 'provenance', kind: 'text', help: 'Attestation of where the image comes from: false, others are not made', check: (value) => notMade(value) },
  { name: 'pull', kind: 'bool', help: 'Always attempt to pull newer versions of the bases' },
  { name: 'push', kind: 'bool', help: 'Push the image under its names' },
  { name: 'quiet', short: 'q', kind: 'bool', help: 'Show only the image ID' },
  { name: 'rm', kind: 'bool', help: 'Remove intermediate containers: they always are' },
  { name: 'sbom', kind: 'text', help: 'Attestation of what the image holds: false, others are not made', check: (value) => notMade(value) },
  { name: 'secret', kind: 'list', help: 'Secret for RUN --mount=type=secret (id=NAME,src=PATH or id=NAME,env=VARIABLE)' },
  { name: 'security-opt', kind: 'list', help: 'Security options' },
  { name: 'shm-size', kind: 'text', help: 'Size of /dev/shm' },
  { name: 'squash', kind: 'bool', help: 'Squash the new layers into one (not supported)' },
  { name: 'ssh', kind: 'list', help: 'Agent for RUN --mount=type=ssh (default, NAME=SOCKET)' },
  { name: 'tag', short: 't', kind: 'list', help: 'Name and optionally a tag (name:tag)' },
  { name: 'target', kind: 'text', help: 'Stage to build' },
  { name: 'trace', kind: 'bool', help: 'Say at the end which steps decided how long it took' },
  { name: 'ulimit', kind: 'list', help: 'Ulimit options' },
]

/** `NAME=VALUE`; a name alone takes its value from here, or has none. */
function buildArgs(specs: readonly string[], proxies: readonly string[]): Readonly<Record<string, string | null>> {
  const all: Record<string, string | null> = {}
  for (const spec of [...proxies, ...specs]) {
    const equals = spec.indexOf('=')
    all[equals < 0 ? spec : spec.slice(0, equals)] = equals < 0 ? (process.env[spec] ?? null) : spec.slice(equals + 1)
  }
  return all
}

function labels(specs: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(specs.map((spec) => (spec.includes('=') ? [spec.slice(0, spec.indexOf('=')), spec.slice(spec.indexOf('=') + 1)] : [spec, ''])))
}

/** Who the user is to every registry that the configuration names. */
async function registryConfig(): Promise<Readonly<Record<string, string>>> {
  const directory = configDirectory(process.env)
  const config = openConfig(directory).read()
  const credentials = openCredentials(directory)
  const servers = [...new Set([...Object.keys(asObject(config['auths'] ?? {}, 'auths')), ...Object.keys(asObject(config['credHelpers'] ?? {}, 'credHelpers'))].map(serverNamed))]
  const found: Record<string, object> = {}
  for (const server of servers) {
    const auth = await credentials.find(server)
    if (auth !== undefined) found[server] = auth
  }
  return servers.length === 0 ? {} : { 'X-Registry-Config': Buffer.from(JSON.stringify(found)).toString('base64url') }
}

const bytesOf = (text: string): number | undefined => (text === '' ? undefined : text === '-1' ? -1 : parseBytes(text))

interface BuildLine {
  readonly step?: StepEvent
  readonly aux?: { readonly ID?: string; readonly Answer?: Readonly<Record<string, string>>; readonly Outputs?: readonly WaitingOutput[] }
  readonly status?: string
  readonly stream?: string
  readonly progressDetail?: { readonly current?: number }
  readonly id?: string
  readonly error?: string
  readonly errorDetail?: { readonly message?: string; readonly code?: number }
}

const LINT = 'frontend.lint'

/** What `--call` asks for: `targets`, `outline,format=json`. */
function questionOf(text: string): { readonly name: string; readonly format: string } {
  const [name = '', ...rest] = text.split(',')
  const format = rest.find((field) => field.startsWith('format='))?.slice('format='.length) ?? 'text'
  if (name === '' || name === 'build') return { name: '', format }
  if (!['check', 'outline', 'targets'].includes(name)) throw new UsageError(`invalid value ${JSON.stringify(text)} for --call: expected build, check, outline or targets`)
  return { name: `frontend.${name === 'check' ? 'lint' : name}`, format }
}

/** Shows an answer; gives the exit code that it asks for. */
function answered(answer: Readonly<Record<string, string>>, format: string): number {
  process.stdout.write(answer[format === 'json' ? 'result.json' : 'result.txt'] ?? '')
  return Number(answer['result.statuscode'] ?? '0')
}

const NO_ARCHIVE = { body: Buffer.alloc(0), done: Promise.resolve() }

async function build(context: Context, parsed: Parsed): Promise<number> {
  const [word = ''] = parsed.rest
  const progress = parsed.bool('quiet') ? 'quiet' : parsed.text('progress') || process.env['BUILDKIT_PROGRESS'] || 'auto'
  if (parsed.bool('squash')) throw new UsageError('--squash: squashing layers is not supported')
  const proxies = proxyVariables(context.config(), context.host, parsed.list('build-arg'))
  const outputs = outputsOf(parsed)
  const asked = questionOf(parsed.text('call'))
  // As text it is what --check says.
  const isCheck = parsed.bool('check') || (asked.name === LINT && asked.format !== 'json')
  const question = isCheck ? questionOf('') : asked
  using sent = await contextOf(word, parsed.text('file'))
  const query = {
    t: parsed.list('tag'), dockerfile: sent.dockerfile, remote: sent.remote, nocache: parsed.bool('no-cache'), pull: parsed.bool('pull'), target: parsed.text('target'), platform: parsed.text('platform'), networkmode: parsed.text('network'),
    buildargs: JSON.stringify(buildArgs(parsed.list('build-arg'), proxies)), labels: JSON.stringify(labels(parsed.list('label'))), extrahosts: parsed.list('add-host'), cachefrom: JSON.stringify(parsed.list('cache-from').map((spec) => cacheOf('cache-from', spec))), cacheto: JSON.stringify(parsed.list('cache-to').map((spec) => cacheOf('cache-to', spec))),
    outputs: JSON.stringify(outputs.map(({ Type, Attrs }) => ({ Type, Attrs }))), allow: parsed.list('allow').flatMap((names) => names.split(',')), call: question.name,
    memory: bytesOf(parsed.text('memory')), memswap: bytesOf(parsed.text('memory-swap')), cpushares: parsed.number('cpu-shares'), cpuperiod: parsed.number('cpu-period'), cpuquota: parsed.number('cpu-quota'), cpusetcpus: parsed.text('cpuset-cpus'), cpusetmems: parsed.text('cpuset-mems'),
    shmsize: bytesOf(parsed.text('shm-size')), cgroupparent: parsed.text('cgroup-parent'), ulimits: JSON.stringify(ulimits(parsed.list('ulimit'))), securityopt: parsed.list('security-opt'), isolation: parsed.text('isolation'), check: isCheck, steps: true,
  }
  const out = process.stderr
  const view = progress === 'quiet' || progress === 'rawjson' ? undefined : buildView(out, progress === 'tty' || (progress === 'auto' && out.isTTY) ? 'tty' : 'plain')
  let imageId = ''
  let answer: Readonly<Record<string, string>> = {}
  let waiting: readonly WaitingOutput[] = []
  try {
    using ahead = await sendAhead(context, parsed)
    const offer = await offerOf(context, sent)
    const archive = offer === undefined ? sent.archive() : offer.wanted.length === 0 ? NO_ARCHIVE : sent.archive(offer.wanted)
    const response = await context.api.send('POST', '/build', { query: { ...query, ...ahead.query, offer: offer?.id }, headers: await registryConfig(), ...(archive !== undefined && { body: archive.body, contentType: 'application/x-tar' }) })
    for await (const line of jsonLines<BuildLine>(response)) {
      if (progress === 'rawjson') process.stdout.write(`${JSON.stringify(line)}\n`)
      const failure = line.errorDetail?.message ?? line.error
      if (failure !== undefined) {
        view?.end()
        if (isCheck) return line.errorDetail?.code ?? 1
        throw Object.assign(new EngineError('internal', failure), { exitCode: line.errorDetail?.code ?? 1 })
      }
      if (line.step !== undefined) view?.take(line.step)
      if (isCheck && line.stream !== undefined) process.stdout.write(line.stream)
      else if (line.stream !== undefined) view?.take({ number: 0, event: 'warning', message: line.stream.trimEnd() })
      // A base that is pulled: what changes all the time is left out.
      if (line.status !== undefined && line.progressDetail?.current === undefined) view?.take({ number: 0, event: 'warning', message: `${line.id === undefined ? '' : `${line.id}: `}${line.status}` })
      ;({ ID: imageId = imageId, Answer: answer = answer, Outputs: waiting = waiting } = line.aux ?? {})
    }
    await archive?.done
    await fetchOutputs(context, outputs, waiting)
  } finally {
    view?.end()
  }
  if (question.name !== '') return answered(answer, question.format)
  if (isCheck) return 0
  if (parsed.text('metadata-file') !== '') writeFileSync(parsed.text('metadata-file'), `${JSON.stringify(answer, undefined, 2)}\n`)
  if (view !== undefined && parsed.bool('trace')) out.write(view.criticalPath())
  if (parsed.text('iidfile') !== '') writeFileSync(parsed.text('iidfile'), imageId)
  if (imageId === '') return 0
  if (progress === 'quiet') process.stdout.write(`${imageId}\n`)
  else if (view !== undefined) out.write([`image ${imageId}`, ...parsed.list('tag').map((tag) => `name  ${tag}`), ''].join('\n'))
  return 0
}

/** Commands that build images. */
export const BUILD_COMMANDS: readonly Command[] = [{ names: ['build', 'image build', 'builder build'], usage: 'build [OPTIONS] PATH|URL|-', help: 'Build an image from a Dockerfile', flags: FLAGS, run: build }]
