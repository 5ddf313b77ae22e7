import { EngineError } from './errors.ts'

/** A JSON object whose fields are not known yet. */
export type JsonObject = { readonly [key: string]: unknown }

/** The value as an object; null and undefined give an empty one. */
export function asObject(value: unknown, field: string): JsonObject {
  if (value === undefined || value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value)) throw new EngineError('invalid', `${field}: expected an object`)
  return value as JsonObject
}

/** The value as text; null and undefined give an empty one. */
export function asString(value: unknown, field: string): string {
  if (value === undefined || value === null) return ''
  if (typeof value !== 'string') throw new EngineError('invalid', `${field}: expected a string`)
  return value
}

/** The value as a whole number that JavaScript holds exactly; null and undefined give 0. */
export function asInteger(value: unknown, field: string): number {
  if (value === undefined || value === null) return 0
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw new EngineError('invalid', `${field}: expected a whole number`)
  return value
}

/** The value as a boolean; null and undefined give false. */
export function asBoolean(value: unknown, field: string): boolean {
  if (value === undefined || value === null) return false
  if (typeof value !== 'boolean') throw new EngineError('invalid', `${field}: expected a boolean`)
  return value
}

/** The value as a list; null and undefined give an empty one. */
export function asList(value: unknown, field: string): readonly unknown[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw new EngineError('invalid', `${field}: expected a list`)
  return value
}

/** A list of texts. A single text counts as a list of one where Docker's API allows it. */
export function asStrings(value: unknown, field: string): readonly string[] {
  if (typeof value === 'string') return [value]
  return asList(value, field).map((item, index) => asString(item, `${field}[${index}]`))
}

/** A map of texts. */
export function asStringMap(value: unknown, field: string): Readonly<Record<string, string>> {
  const map: Record<string, string> = Object.create(null) as Record<string, string>
  for (const [key, item] of Object.entries(asObject(value, field))) map[key] = asString(item, `${field}.${key}`)
  return map
}

/** Refuses text whose brackets nest deeper than `limit`, before it is parsed. */
export function checkDepth(text: string, limit: number): void {
  let depth = 0
  let inText = false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (inText) {
      if (code === 92) at++
      else if (code === 34) inText = false
    } else if (code === 34) inText = true
    else if (code === 123 || code === 91) {
      depth++
      if (depth > limit) throw new EngineError('invalid', `JSON is nested deeper than ${limit} levels`)
    } else if (code === 125 || code === 93) depth--
  }
}
