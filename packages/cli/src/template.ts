import { EngineError } from '@gantry/std'

/** Go's text/template, as far as people use it with `--format`: fields, pipelines, functions, range, if, with, variables. */
type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'value'; readonly pipeline: Pipeline; readonly assign?: string }
  | { readonly kind: 'if' | 'range' | 'with'; readonly pipeline: Pipeline; readonly names: readonly string[]; readonly body: readonly Node[]; readonly otherwise: readonly Node[] }

type Operand = { readonly kind: 'field'; readonly path: readonly string[]; readonly base: string | undefined; readonly of?: Pipeline } | { readonly kind: 'literal'; readonly value: unknown } | { readonly kind: 'pipe'; readonly pipeline: Pipeline } | { readonly kind: 'function'; readonly name: string }
interface Command {
  readonly operands: readonly Operand[]
}
type Pipeline = readonly Command[]

interface Scope {
  readonly dot: unknown
  readonly variables: Map<string, unknown>
}

/** Text of a value as Go's fmt prints it. */
export function show(value: unknown): string {
  if (value === undefined) return '<no value>'
  if (value === null) return '<nil>'
  if (Array.isArray(value)) return `[${value.map(show).join(' ')}]`
  if (typeof value === 'object') return `map[${Object.keys(value).sort().map((key) => `${key}:${show((value as Record<string, unknown>)[key])}`).join(' ')}]`
  return String(value)
}

const truthy = (value: unknown): boolean => !(value === undefined || value === null || value === false || value === 0 || value === '' || (Array.isArray(value) && value.length === 0) || (typeof value === 'object' && Object.keys(value).length === 0))
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const compare = (a: unknown, b: unknown): number => (typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0)

function printf(format: unknown, ...values: readonly unknown[]): string {
  let at = 0
  return String(format).replace(/%(-?\d*)([vsdqtx%])/g, (_, width: string, verb: string) => {
    if (verb === '%') return '%'
    const value = values[at++]
    const text = verb === 'q' ? JSON.stringify(String(value)) : verb === 'x' ? Number(value).toString(16) : show(value)
    return width.startsWith('-') ? text.padEnd(Number(width.slice(1))) : text.padStart(Number(width))
  })
}

/** Go writes the keys of a map in their order. */
export function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, one]) => [key, sortKeys(one)]))
}

const FUNCTIONS: Readonly<Record<string, (...values: readonly unknown[]) => unknown>> = {
  json: (value) => JSON.stringify(value === undefined ? null : sortKeys(value)),
  join: (values, separator) => list(values).map(show).join(String(separator)),
  split: (text, separator) => String(text).split(String(separator)),
  upper: (text) => String(text).toUpperCase(),
  lower: (text) => String(text).toLowerCase(),
  title: (text) => String(text).replace(/\b\w/g, (letter) => letter.toUpperCase()),
  truncate: (text, length) => String(text).slice(0, Number(length)),
  pad: (text, before, after) => `${' '.repeat(Number(before))}${text}${' '.repeat(Number(after))}`,
  println: (...values) => `${values.map(show).join(' ')}\n`,
  print: (...values) => values.map(show).join(''),
  printf,
  len: (value) => (typeof value === 'string' ? Buffer.byteLength(value) : Array.isArray(value) ? value.length : Object.keys((value ?? {}) as object).length),
  index: (value, ...keys) => keys.reduce<unknown>((at, key) => (Array.isArray(at) ? at[Number(key)] : (at as Record<string, unknown> | undefined)?.[String(key)]), value),
  slice: (value, from = 0, to = undefined) => (typeof value === 'string' || Array.isArray(value) ? value.slice(Number(from), to === undefined ? undefined : Number(to)) : value),
  not: (value) => !truthy(value),
  and: (...values) => values.find((value) => !truthy(value)) ?? values.at(-1),
  or: (...values) => values.find(truthy) ?? values.at(-1),
  eq: (first, ...others) => others.some((other) => first === other || String(first) === String(other)),
  ne: (a, b) => a !== b && String(a) !== String(b),
  lt: (a, b) => compare(a, b) < 0,
  le: (a, b) => compare(a, b) <= 0,
  gt: (a, b) => compare(a, b) > 0,
  ge: (a, b) => compare(a, b) >= 0,
}

const bad = (text: string, reason: string): EngineError => new EngineError('invalid', `template parsing error: ${reason}: {{${text}}}`)

function tokenize(text: string): readonly string[] {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|`[^`]*`|:=|\||\(|\)|,|[^\s|(),]+/g) ?? []
  return tokens
}

/** Reads a pipeline from tokens; stops at a closing parenthesis. */
function parsePipeline(tokens: string[], source: string): Pipeline {
  const commands: Command[] = []
  let operands: Operand[] = []
  for (;;) {
    const token = tokens.shift()
    if (token === undefined || token === ')' || token === '|') {
      if (operands.length === 0) throw bad(source, 'missing value')
      commands.push({ operands })
      operands = []
      if (token !== '|') return commands
    } else operands.push(parseOperand(token, tokens, source))
  }
}

function parseOperand(token: string, tokens: string[], source: string): Operand {
  if (token === '(') {
    const pipeline = parsePipeline(tokens, source)
    const next = tokens[0]
    if (next?.startsWith('.') === true) {
      tokens.shift()
      return { kind: 'field', base: undefined, path: next.slice(1).split('.').filter((part) => part !== ''), of: pipeline }
    }
    return { kind: 'pipe', pipeline }
  }
  if (token.startsWith('"')) return { kind: 'literal', value: JSON.parse(token) as string }
  if (token.startsWith('`')) return { kind: 'literal', value: token.slice(1, -1) }
  if (/^-?\d/.test(token)) return { kind: 'literal', value: Number(token) }
  if (token === 'true' || token === 'false') return { kind: 'literal', value: token === 'true' }
  if (token === 'nil') return { kind: 'literal', value: null }
  if (token.startsWith('.')) return { kind: 'field', base: undefined, path: token.slice(1).split('.').filter((part) => part !== '') }
  if (token.startsWith('$')) {
    const [base = '$', ...path] = token.split('.')
    return { kind: 'field', base, path }
  }
  if (FUNCTIONS[token] === undefined) throw bad(source, `function "${token}" not defined`)
  return { kind: 'function', name: token }
}

interface Frame {
  readonly node?: { readonly kind: 'if' | 'range' | 'with'; readonly pipeline: Pipeline; readonly names: readonly string[] }
  readonly body: Node[]
  otherwise: Node[] | undefined
  /** `else if` closes with the same end. */
  readonly chained: boolean
}

function parseBlock(rest: string, source: string): { readonly pipeline: Pipeline; readonly names: readonly string[] } {
  const match = /^((?:\$\w*\s*,\s*)?\$\w*)\s*:=\s*(.*)$/s.exec(rest)
  const names = match === null ? [] : (match[1] ?? '').split(',').map((name) => name.trim())
  return { names, pipeline: parsePipeline([...tokenize(match === null ? rest : (match[2] ?? ''))], source) }
}

/** Parses a template; a mistake is an error that shows the action it is in. */
export function parseTemplate(template: string): readonly Node[] {
  const root: Frame = { body: [], otherwise: undefined, chained: false }
  const stack: Frame[] = [root]
  const add = (node: Node): void => {
    const top = stack.at(-1) ?? root
    ;(top.otherwise ?? top.body).push(node)
  }
  const close = (): void => {
    for (;;) {
      const frame = stack.pop()
      if (frame?.node === undefined) throw bad('end', 'unexpected {{end}}')
      add({ ...frame.node, body: frame.body, otherwise: frame.otherwise ?? [] })
      if (!frame.chained) return
    }
  }
  let trim = false
  for (const part of template.split(/(\{\{-?\s[\s\S]*?\s-?\}\}|\{\{[\s\S]*?\}\})/)) {
    if (!part.startsWith('{{')) {
      const text = trim ? part.trimStart() : part
      if (text !== '') add({ kind: 'text', text })
      continue
    }
    if (/^\{\{-\s/.test(part)) trimLast(stack.at(-1) ?? root)
    trim = /\s-\}\}$/.test(part)
    const source = part.replace(/^\{\{(-\s)?/, '').replace(/(\s-)?\}\}$/, '').trim()
    if (source.startsWith('/*')) continue
    const [word = '', rest = ''] = [/^\S+/.exec(source)?.[0], source.replace(/^\S+\s*/, '')]
    if (word === 'if' || word === 'range' || word === 'with') stack.push({ node: { kind: word, ...parseBlock(rest, source) }, body: [], otherwise: undefined, chained: false })
    else if (word === 'else') {
      const top = stack.at(-1)
      if (top?.node === undefined) throw bad(source, 'unexpected {{else}}')
      top.otherwise = []
      if (rest.startsWith('if ')) stack.push({ node: { kind: 'if', ...parseBlock(rest.slice(3), source) }, body: [], otherwise: undefined, chained: true })
    } else if (word === 'end') close()
    else {
      const assign = /^(\$\w+)\s*:?=\s*(.*)$/s.exec(source)
      add({ kind: 'value', pipeline: parsePipeline([...tokenize(assign === null ? source : (assign[2] ?? ''))], source), ...(assign?.[1] !== undefined && { assign: assign[1] }) })
    }
  }
  if (stack.length > 1) throw new EngineError('invalid', 'template parsing error: unexpected end: {{end}} is missing')
  return root.body
}

function trimLast(frame: Frame): void {
  const nodes = frame.otherwise ?? frame.body
  const last = nodes.at(-1)
  if (last?.kind === 'text') nodes[nodes.length - 1] = { kind: 'text', text: last.text.trimEnd() }
}

function walk(from: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((at, name) => {
    if (at === undefined || at === null) return undefined
    const member = (at as Record<string, unknown>)[name]
    return typeof member === 'function' ? (member as () => unknown).call(at) : member
  }, from)
}

function operandValue(operand: Operand, scope: Scope): unknown {
  if (operand.kind === 'literal') return operand.value
  if (operand.kind === 'pipe') return evaluate(operand.pipeline, scope)
  if (operand.kind === 'function') return FUNCTIONS[operand.name]?.()
  const base = operand.of !== undefined ? evaluate(operand.of, scope) : operand.base === undefined ? scope.dot : scope.variables.get(operand.base)
  return walk(base, operand.path)
}

function evaluate(pipeline: Pipeline, scope: Scope): unknown {
  let result: unknown
  pipeline.forEach((command, index) => {
    const [first, ...rest] = command.operands
    if (first === undefined) return
    const values = [...rest.map((operand) => operandValue(operand, scope)), ...(index > 0 ? [result] : [])]
    result = first.kind === 'function' ? FUNCTIONS[first.name]?.(...values) : operandValue(first, scope)
  })
  return result
}

function render(nodes: readonly Node[], scope: Scope): string {
  return nodes.map((node) => renderNode(node, scope)).join('')
}

function renderNode(node: Node, scope: Scope): string {
  if (node.kind === 'text') return node.text
  const value = evaluate(node.pipeline, scope)
  if (node.kind === 'value') {
    if (node.assign === undefined) return show(value)
    scope.variables.set(node.assign, value)
    return ''
  }
  if (node.kind === 'range') return renderRange(node, value, scope)
  if (!truthy(value)) return render(node.otherwise, scope)
  const inner = node.kind === 'with' ? { ...scope, dot: value } : scope
  if (node.names[0] !== undefined) scope.variables.set(node.names[0], value)
  return render(node.body, inner)
}

function renderRange(node: Extract<Node, { readonly kind: 'if' | 'range' | 'with' }>, value: unknown, scope: Scope): string {
  const entries: readonly (readonly [unknown, unknown])[] = Array.isArray(value) ? value.map((item, index) => [index, item] as const) : value !== null && typeof value === 'object' ? Object.keys(value).sort().map((key) => [key, (value as Record<string, unknown>)[key]] as const) : []
  if (entries.length === 0) return render(node.otherwise, scope)
  return entries
    .map(([key, item]) => {
      const [first, second] = node.names
      if (second !== undefined) scope.variables.set(second, item)
      if (first !== undefined) scope.variables.set(first, second === undefined ? item : key)
      return render(node.body, { ...scope, dot: item })
    })
    .join('')
}

/** Parses once, renders as often as wanted. */
export function compileTemplate(template: string): (value: unknown) => string {
  const nodes = parseTemplate(template)
  return (value) => render(nodes, { dot: value, variables: new Map([['$', value]]) })
}
