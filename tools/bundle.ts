/**
 * Bundles client and daemon as CommonJS: no types to strip at every start, 20 ms less for the entry, and node:http without the
 * web client behind it, which an ES-module import of it loads (60 ms and 25 MB).
 */
import { rolldown } from 'rolldown'

const TARGETS = [
  { input: 'packages/cli/src/main.ts', file: 'build/gantry.cjs', format: 'cjs' },
  { input: 'packages/runtime/src/oci/main.ts', file: 'build/gantry-runtime.cjs', format: 'cjs' },
  { input: 'packages/runtime/src/grpc/main.ts', file: 'build/gantry-supervisor.cjs', format: 'cjs' },
  { input: 'packages/daemon/src/images/process/main.ts', file: 'build/gantry-images.cjs', format: 'cjs' },
  { input: 'packages/registry/src/server/main.ts', file: 'build/gantry-registry.cjs', format: 'cjs' },
  { input: 'packages/daemon/src/main.ts', file: 'build/gantryd.cjs', format: 'cjs' },
] as const

for (const { input, file, format } of TARGETS) {
  const bundle = await rolldown({ input, platform: 'node' })
  await bundle.write({ file, format, minify: false, codeSplitting: false })
  await bundle.close()
}
