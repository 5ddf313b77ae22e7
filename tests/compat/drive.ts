import { mkdirSync } from 'node:fs'
import { exec } from '../harness.ts'
import { mask, splitStep } from './masks.ts'
import { STEPS } from './steps.table.ts'

/** What a client said, masked. */
export interface Said {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** A step that two said differently. */
export interface Difference {
  readonly step: string
  readonly first: Said
  readonly second: Said
}

/** Leads a client through all steps; `places` are words that differ by who runs them, and what stands for them. */
export async function drive(client: readonly string[], host: string, places: readonly (readonly [string, string])[], scratch: string, env: NodeJS.ProcessEnv = {}): Promise<readonly Said[]> {
  const said: Said[] = []
  const [program = '', ...first] = client
  mkdirSync(scratch)
  let begun = ''
  for (const step of STEPS) {
    if (step === '!begin') {
      begun = (Date.now() / 1000).toFixed(3)
      said.push({ code: 0, out: '', err: '' })
      continue
    }
    const words = splitStep(step).map((word) => word.replace('$SCRATCH', scratch).replace('$BEGIN', begun).replace('$NOW', String(Math.floor(Date.now() / 1000) + 1)))
    const ran = await exec(program, [...first, '-H', host, ...words], { env: { ...process.env, ...env, DOCKER_CONFIG: `${scratch}/config` } })
    const all = [...places, [scratch, 'SCRATCH'] as const, [host, 'HOST'] as const]
    said.push({ code: ran.code, out: mask(ran.out, all), err: mask(ran.err, all) })
  }
  return said
}

/** Steps that went differently, but for those that a table justifies. */
export function differences(first: readonly Said[], second: readonly Said[], justified: readonly (readonly [step: RegExp, reason: string])[]): readonly Difference[] {
  return STEPS.flatMap((step, index) => {
    const [a, b] = [first[index], second[index]]
    if (a === undefined || b === undefined || (a.code === b.code && a.out === b.out && a.err === b.err) || justified.some(([pattern]) => pattern.test(step))) return []
    return [{ step, first: a, second: b }]
  })
}
