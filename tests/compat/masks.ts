/** What differs between two engines without meaning anything: ids, times, sizes, addresses, places. */
const MASKS: readonly (readonly [RegExp, string])[] = [
  [/\b[0-9a-f]{64}\b/g, 'ID'],
  [/\b[0-9a-f]{12}\b/g, 'ID'],
  [/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d\d:?\d\d( UTC)?| UTC|Z)?/g, 'TIME'],
  [/\b(?:About an?|Less than an?|\d+) (?:second|minute|hour|day|week|month)s?(?: ago)?/g, 'AGO'],
  [/\b\d+(?:\.\d+)?(?:e[+-]\d+)? ?[kMG]i?B\b|\b\d+B\b/g, 'SIZE'],
  // Whole seconds that something took: a matter of when they begin.
  [/(?<=execDuration\W{1,3})\d+/g, 'SECONDS'],
  [/(?:[0-9a-f]{2}:){5}[0-9a-f]{2}/g, 'MAC'],
  [/\b[a-z]+_[a-z]+\d?\b(?=\s*$| \(ID\))/gm, 'NAME'],
  [/^([\w-]+ +)?\d+( +\d+)?( +\d+)? +([\d:]+ +)?(\? +)?([\d:]+ +)?(?=sleep)/gm, 'PROCESS '],
]

/** Replaces what may differ; `places` are folders of the engine and of the run. */
export function mask(text: string, places: readonly (readonly [string, string])[]): string {
  const placed = places.reduce((left, [from, to]) => left.replaceAll(from, to), text)
  return MASKS.reduce((left, [pattern, word]) => left.replace(pattern, word), placed)
}

/** Splits a step at blanks; what is between double quotes stays whole, `\"` is a quote. */
export function splitStep(step: string): readonly string[] {
  return [...step.matchAll(/(?:"((?:[^"\\]|\\.)*)"|(\S+))/g)].map(([, quoted, plain]) => (quoted === undefined ? (plain ?? '') : quoted.replace(/\\(.)/g, '$1')))
}
