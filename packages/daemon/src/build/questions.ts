import { checkDockerfile, type Dockerfile, type DockerfileSource, excerpt, fromsOf, parseMount, readDockerfile, stageOfFrom } from '@gantry/builder'
import { EngineError } from '@gantry/std'

/** What a client may ask about a Dockerfile instead of building it (`requestid`), and what answers have (`result.json`, `result.txt` …). */
type Answer = Readonly<Record<string, Buffer>>

interface Range {
  readonly ranges: readonly { readonly start: { readonly line: number }; readonly end: { readonly line: number } }[]
}

const at = (line: number): Range => ({ ranges: [{ start: { line }, end: { line } }] })
const answer = (json: object, text: string, status?: number): Answer => ({ 'result.json': Buffer.from(JSON.stringify(json, undefined, 2)), 'result.txt': Buffer.from(text), version: Buffer.from('1.0.0'), ...(status !== undefined && { 'result.statuscode': Buffer.from(String(status)) }) })

/** Columns as wide as what stands in them. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return rows.map((row) => `${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}\n`).join('')
}

function lint(source: DockerfileSource, file: Dockerfile, bytes: Buffer, options: QuestionOptions): Answer {
  const warnings = checkDockerfile(source, file, options)
  const json = {
    warnings: warnings.map(({ rule, message, place }) => ({ ruleName: rule, detail: message, location: at(place.line) })),
    sources: [{ filename: source.name, data: bytes.toString('base64'), language: 'Dockerfile' }],
  }
  return answer(json, warnings.map((one) => `WARNING: ${one.rule}\n${one.message}\n${excerpt(source, one.place)}\n`).join('\n'), warnings.length === 0 ? 0 : 1)
}

function targets(file: Dockerfile, bytes: Buffer): Answer {
  const last = file.stages.length - 1
  const all = file.stages.map((stage) => ({ ...(stage.name !== '' && { name: stage.name }), ...(stage.index === last && { default: true }), base: stage.base, ...(stage.platform !== '' && { platform: stage.platform }), location: at(stage.line.place(-1).line) }))
  const rows = file.stages.map((stage) => [`${stage.name}${stage.index === last ? `${stage.name === '' ? '' : ' '}(default)` : ''}`, ''])
  return answer({ targets: all, sources: [bytes.toString('base64')] }, table([['TARGET', 'DESCRIPTION'], ...rows]))
}

function outline(file: Dockerfile, bytes: Buffer, { target, buildArgs }: QuestionOptions): Answer {
  const chosen = target === '' ? file.stages.at(-1) : file.stages.find((stage) => stage.name === target.toLowerCase())
  if (chosen === undefined) throw new EngineError('invalid', `target stage ${JSON.stringify(target)} could not be found`)
  const seen = new Set([chosen])
  for (const stage of seen) {
    for (const name of [stage.base, ...stage.instructions.flatMap(fromsOf)]) {
      const other = stageOfFrom(file.stages, name, stage.index)
      const found = other === undefined ? undefined : file.stages[other]
      if (found !== undefined) seen.add(found)
    }
  }
  const args = new Map<string, { readonly name: string; readonly value: string | undefined; readonly line: number }>()
  const secrets = new Map<string, { readonly required: boolean; readonly line: number }>()
  const agents = new Map<string, { readonly required: boolean; readonly line: number }>()
  for (const arg of [...file.args, ...[...seen].flatMap((stage) => stage.instructions)]) {
    const { line } = arg.line.place(-1)
    if (arg.kind === 'ARG') for (const { name, value } of arg.pairs) args.set(name, { name, value: buildArgs.has(name) ? undefined : value, line })
    if (arg.kind !== 'RUN') continue
    for (const mount of (arg.flags.get('mount') ?? []).map((text) => parseMount(text, '/'))) {
      if (mount.type === 'secret') secrets.set(mount.id, { required: mount.required, line })
      if (mount.type === 'ssh') agents.set(mount.id, { required: mount.required, line })
    }
  }
  const named = (all: typeof secrets): readonly object[] => [...all].map(([name, { required, line }]) => ({ name, ...(required && { required }), location: at(line) }))
  const json = {
    ...(chosen.name !== '' && { name: chosen.name }), ...(args.size > 0 && { args: [...args.values()].map(({ name, value, line }) => ({ name, ...(value !== undefined && { value }), location: at(line) })) }),
    ...(secrets.size > 0 && { secrets: named(secrets) }), ...(agents.size > 0 && { ssh: named(agents) }), sources: [bytes.toString('base64')],
  }
  const texts = [
    ...(args.size > 0 ? [table([['BUILD ARG', 'VALUE', 'DESCRIPTION'], ...[...args.values()].map(({ name, value }) => [name, value ?? '', ''])])] : []),
    ...(secrets.size > 0 ? [table([['SECRET', 'REQUIRED'], ...[...secrets].map(([name, { required }]) => [name, required ? 'true' : ''])])] : []),
    ...(agents.size > 0 ? [table([['SSH', 'REQUIRED'], ...[...agents].map(([name, { required }]) => [name, required ? 'true' : ''])])] : []),
  ]
  return answer(json, texts.join('\n'))
}

/** What questions are asked of. */
export interface QuestionOptions {
  readonly target: string
  readonly buildArgs: ReadonlySet<string>
  ignores(path: string): boolean
}

const KNOWN = [
  ['frontend.lint', 'Lint Dockerfile', 'Lint the Dockerfile to identify any violation of rules'],
  ['frontend.outline', 'Outline', 'List all parameters that the current build target supports'],
  ['frontend.targets', 'List targets', 'List all targets that the current build supports'],
] as const

/** Answers one. */
export function answerQuestion(question: string, { name, bytes }: { readonly name: string; readonly bytes: Buffer }, args: ReadonlyMap<string, string>, asked: Pick<QuestionOptions, 'target' | 'ignores'>): Answer {
  if (question === 'frontend.subrequests.describe') {
    const all = KNOWN.map(([id, title, description]) => ({ name: id, version: '1.0.0', type: 'rpc', title, description, opts: [], inputs: [], metadata: [{ name: 'result.json' }, { name: 'result.txt' }], refs: [] }))
    return answer(all, table([['NAME', 'VERSION', 'DESCRIPTION'], ...KNOWN.map(([id, , description]) => [id, '1.0.0', description])]))
  }
  const { source, file } = readDockerfile({ name, bytes }, args)
  const options = { ...asked, buildArgs: new Set(args.keys()) }
  if (question === 'frontend.lint') return lint(source, file, bytes, options)
  if (question === 'frontend.targets') return targets(file, bytes)
  if (question === 'frontend.outline') return outline(file, bytes, options)
  throw new EngineError('unsupported', `${question}: expected one of ${KNOWN.map(([id]) => id).join(', ')}`)
}
