/**
 * Bundles client and daemon as CommonJS: no types to strip at every start, 20 ms less for the entry, and node:http without the
 * web client behind it, which an ES-module import of it loads (60 ms and 25 MB).
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { rolldown } from 'rolldown'

const TARGETS = [
  { input: 'packages/cli/src/main.ts', file: 'build/gantry.cjs', format: 'cjs', lazy: true },
  { input: 'packages/runtime/src/oci/main.ts', file: 'build/gantry-runtime.cjs', format: 'cjs' },
  { input: 'packages/runtime/src/grpc/main.ts', file: 'build/gantry-supervisor.cjs', format: 'cjs' },
  { input: 'packages/daemon/src/images/process/main.ts', file: 'build/gantry-images.cjs', format: 'cjs' },
  { input: 'packages/registry/src/server/main.ts', file: 'build/gantry-registry.cjs', format: 'cjs' },
  { input: 'packages/daemon/src/main.ts', file: 'build/gantryd.cjs', format: 'cjs' },
] as const

/** Node's own modules are loaded where they are first used: a start of the client does without most of them (`node:http` alone takes 5 ms). */
function lazily(code: string): string {
  const names = new Map([...code.matchAll(/^let (node_\w+) = require\("(node:[\w/]+)"\);$/gm)].map((match) => [match[1] ?? '', match[2] ?? '']))
  const other = [...code.matchAll(/\b(node_\w+)\b(?!\.| = require)/g)].find((match) => names.has(match[1] ?? ''))
  if (other !== undefined) throw new Error(`${other[0]} is used as a whole: it cannot be loaded later`)
  return [...names].reduce((text, [name, module]) => text.replace(`let ${name} = require("${module}");`, `const ${name} = () => process.getBuiltinModule("${module}");`).replaceAll(new RegExp(`\\bnew ${name}\\.(\\w+)`, 'g'), `new (${name}().$1)`).replaceAll(new RegExp(`\\b${name}\\.`, 'g'), `${name}().`), code)
}

for (const { input, file, format, ...options } of TARGETS) {
  const bundle = await rolldown({ input, platform: 'node' })
  await bundle.write({ file, format, minify: false, codeSplitting: false })
  await bundle.close()
  if ('lazy' in options) writeFileSync(file, lazily(readFileSync(file, 'utf8')))
}
