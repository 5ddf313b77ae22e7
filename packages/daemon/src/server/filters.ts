import { asObject, EngineError } from '@gantry/std'

/** `filters=` of list requests: key → values. */
export interface Filters {
  none(key: string): boolean
  values(key: string): readonly string[]
  some(key: string, test: (value: string) => boolean): boolean
  /** True when nothing is asked for under the key, or the value is among what is. */
  matches(key: string, value: string): boolean
  /** `key` and `key=value`, all of them. */
  labels(key: string, labels: Readonly<Record<string, string>>): boolean
  /** A single boolean; undefined when not asked for. */
  flag(key: string): boolean | undefined
}

const LIMIT = 65_536

function parse(text: string): ReadonlyMap<string, readonly string[]> {
  if (text === '') return new Map()
  if (text.length > LIMIT) throw new EngineError('invalid', 'invalid filter: too long')
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (cause) {
    throw new EngineError('invalid', 'invalid filter', { cause })
  }
  const result = new Map<string, readonly string[]>()
  for (const [key, value] of Object.entries(asObject(document, 'filters'))) {
    if (Array.isArray(value)) result.set(key, value.map(String))
    else result.set(key, Object.entries(asObject(value, `filters.${key}`)).filter(([, on]) => on === true).map(([name]) => name))
  }
  return result
}

/** Reads filters; a key that is not known is an error, where it is said which are. */
export function parseFilters(text: string | undefined, known?: ReadonlySet<string>): Filters {
  const found = parse(text ?? '')
  for (const key of found.keys()) if (known?.has(key) === false) throw new EngineError('invalid', `invalid filter '${key}'`)
  const values = (key: string): readonly string[] => found.get(key) ?? []
  return {
    none: (key) => values(key).length === 0,
    values,
    some: (key, test) => values(key).some(test),
    matches: (key, value) => values(key).length === 0 || values(key).includes(value),
    labels: (key, labels) =>
      values(key).every((wanted) => {
        const at = wanted.indexOf('=')
        return at < 0 ? labels[wanted] !== undefined : labels[wanted.slice(0, at)] === wanted.slice(at + 1)
      }),
    flag(key) {
      const [first] = values(key)
      if (first === undefined) return undefined
      if (['1', 'true', 't', 'TRUE', 'True'].includes(first)) return true
      if (['0', 'false', 'f', 'FALSE', 'False'].includes(first)) return false
      throw new EngineError('invalid', `invalid filter '${key}=[${first}]'`)
    },
  }
}

/** Everything. */
export const NO_FILTERS: Filters = parseFilters('', new Set())
