import type { ContainerConfig } from '@gantry/api'
import { EngineError } from '@gantry/std'

/** Most of what stands in every line of a log, bytes. */
const LIMIT = 4000
/** Options that choose what is told of a container in its log (Docker's `labels`, `env`, `tag` …). */
export const ATTRIBUTE_OPTIONS: ReadonlySet<string> = new Set(['labels', 'labels-regex', 'env', 'env-regex', 'tag'])

/** The container as templates of `tag` see it. */
export interface TaggedContainer {
  readonly id: string
  readonly name: string
  readonly imageId: string
  readonly path: string
  readonly args: readonly string[]
  readonly config: Pick<ContainerConfig, 'Image' | 'Labels' | 'Env'>
}

const SHORT = 12
const FIELDS: Readonly<Record<string, (one: TaggedContainer) => string>> = {
  ID: (one) => one.id.slice(0, SHORT), FullID: (one) => one.id, Name: (one) => one.name, FullName: (one) => `/${one.name}`, ImageID: (one) => one.imageId.replace('sha256:', '').slice(0, SHORT), ImageFullID: (one) => one.imageId,
  ImageName: (one) => one.config.Image, Command: (one) => [one.path, ...one.args].join(' '), DaemonName: () => 'gantry',
}

/** Fills `{{.Name}}` and its like in; anything else between braces is an error. */
export function fillTag(template: string, container: TaggedContainer): string {
  return template.replace(/\{\{(.*?)\}\}/g, (_, inside: string) => {
    const field = FIELDS[/^\s*\.(\w+)\s*$/.exec(inside)?.[1] ?? '']
    if (field === undefined) throw new EngineError('invalid', `log-opt tag: {{${inside}}}: expected one of ${Object.keys(FIELDS).map((name) => `{{.${name}}}`).join(', ')}`)
    return field(container)
  })
}

function pattern(text: string | undefined, option: string): RegExp | undefined {
  if (text === undefined || text === '') return undefined
  try {
    return new RegExp(text)
  } catch (cause) {
    throw new EngineError('invalid', `log-opt ${option}: invalid regular expression: ${text}`, { cause })
  }
}

const names = (text: string | undefined): ReadonlySet<string> => new Set((text ?? '').split(',').map((one) => one.trim()).filter((one) => one !== ''))

/** What is told of a container with each of its lines: by the names of labels and variables, and the tag. */
export function logAttributes(options: Readonly<Record<string, string>>, container: TaggedContainer): Readonly<Record<string, string>> {
  const [labels, env] = [names(options['labels']), names(options['env'])]
  const [labelPattern, envPattern] = [pattern(options['labels-regex'], 'labels-regex'), pattern(options['env-regex'], 'env-regex')]
  const variables = container.config.Env.map((one): readonly [string, string] => [one.split('=', 1)[0] ?? '', one.slice(one.indexOf('=') + 1)])
  const found = [
    ...Object.entries(container.config.Labels ?? {}).filter(([name]) => labels.has(name) || labelPattern?.test(name) === true),
    ...variables.filter(([name]) => env.has(name) || envPattern?.test(name) === true),
    ...(options['tag'] === undefined || options['tag'] === '' ? [] : [['tag', fillTag(options['tag'], container)] as const]),
  ]
  const attributes = Object.fromEntries(found)
  if (Buffer.byteLength(JSON.stringify(attributes)) > LIMIT) throw new EngineError('invalid', `log-opt: labels, variables and tag come to more than ${LIMIT} bytes a line`)
  return attributes
}

/** As `logs --details` shows them. */
export function detailsText(attributes: Readonly<Record<string, string>>): string {
  const encoded = (text: string): string => encodeURIComponent(text).replaceAll('%20', '+')
  return Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => `${encoded(name)}=${encoded(value)}`).join(',')
}
