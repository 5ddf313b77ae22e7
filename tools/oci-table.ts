/**
 * The checks of tests/root/oci-*.test.ts, each by the section of the specification that it names, with gantry-runtime and with a control.
 *
 *   build/node tools/oci-table.ts /path/to/runc
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const root = new URL('..', import.meta.url).pathname.replace(/\/$/, '')
const control = process.argv[2]
if (control === undefined || !existsSync(control)) {
  process.stderr.write('usage: build/node tools/oci-table.ts PATH-OF-RUNC\n')
  process.exit(2)
}

/** Names of the checks and how each ended, from TAP. */
function results(runtime: string | undefined): ReadonlyMap<string, string> {
  const { OCI_RUNTIME: _, ...env } = process.env
  const ran = spawnSync(`${root}/build/node`, ['--test', '--test-concurrency=1', '--test-reporter=tap', `${root}/tests/root/oci-runtime.test.ts`, `${root}/tests/root/oci-fields.test.ts`, `${root}/tests/root/oci-validation.test.ts`], { env: { ...env, ...(runtime !== undefined && { OCI_RUNTIME: runtime }) }, encoding: 'utf8', timeout: 300_000, maxBuffer: 64 << 20 })
  const lines = ran.stdout.matchAll(/^ {4,}(not ok|ok) \d+ - (.*?)(?: # (SKIP).*)?$/gm)
  return new Map([...lines].map((match) => [(match[2] ?? '').replaceAll('\\#', '#'), match[3] === 'SKIP' ? 'skipped' : match[1] === 'ok' ? 'passes' : 'fails']))
}

const [ours, theirs] = [results(undefined), results(control)]
const width = Math.max(...[...ours.keys()].map((name) => name.length))
process.stdout.write(`${'check'.padEnd(width)}  gantry-runtime  control\n`)
for (const [name, result] of ours) process.stdout.write(`${name.padEnd(width)}  ${result.padEnd(14)}  ${theirs.get(name) ?? 'missing'}\n`)
const count = (list: ReadonlyMap<string, string>): number => [...list.values()].filter((one) => one === 'passes').length
process.stdout.write(`${'passed'.padEnd(width)}  ${String(count(ours)).padEnd(14)}  ${count(theirs)}\n`)
process.exit([...ours.values()].includes('fails') ? 1 : 0)
