/** Writes `tests/compat/operations.table.ts` from a definition of the Engine API (swagger 2.0 in YAML): `build/node tools/api-operations.ts PATH > tests/compat/operations.table.ts`. */
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'

interface Schema {
  readonly $ref?: string
  readonly type?: string
  readonly items?: Schema
  readonly allOf?: readonly Schema[]
  readonly properties?: Readonly<Record<string, Schema>>
}
interface Operation {
  readonly operationId: string
  readonly tags?: readonly string[]
  readonly responses: Readonly<Record<string, { readonly schema?: Schema }>>
}
interface Definition {
  readonly info: { readonly version: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly definitions: Readonly<Record<string, Schema>>
}

const SWARM = /^(Swarm|Node|Service|Task|Secret|Config)$/
const definition = parse(readFileSync(process.argv[2] ?? '', 'utf8')) as Definition

const resolve = (schema: Schema): Schema => (schema.$ref === undefined ? schema : resolve(definition.definitions[schema.$ref.replace('#/definitions/', '')] ?? {}))

/** Names of the fields of an object, or of the objects of a list. */
function fieldsOf(schema: Schema | undefined): readonly string[] {
  if (schema === undefined) return []
  const { type, items, allOf = [], properties = {} } = resolve(schema)
  return type === 'array' ? fieldsOf(items) : [...new Set([...allOf.flatMap((one) => fieldsOf(one)), ...Object.keys(properties)])]
}

const rows = Object.entries(definition.paths).flatMap(([path, methods]) =>
  Object.entries(methods).flatMap(([method, operation]) => {
    if (operation.operationId === undefined || (operation.tags ?? []).some((tag) => SWARM.test(tag))) return []
    const success = Object.entries(operation.responses).find(([status]) => status.startsWith('2'))
    const text = (words: readonly string[]): string => `[${words.map((word) => `'${word}'`).join(', ')}]`
    return [`  ['${operation.operationId}', '${method.toUpperCase()}', '${path}', [${Object.keys(operation.responses).join(', ')}], ${text(fieldsOf(success?.[1].schema))}],\n`]
  }),
)
process.stdout.write(`/** Operations of the Engine API ${definition.info.version} but those of a swarm: statuses and the fields of the answer that the definition names. Made by tools/api-operations.ts. */
export const OPERATIONS: readonly (readonly [operation: string, method: string, path: string, statuses: readonly number[], fields: readonly string[]])[] = [
${rows.join('')}]
`)
