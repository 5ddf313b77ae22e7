/** Holds the tree against the floors and the invariants of ARCHITECTURE.md. An ordinary test; reads files as text. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { it } from 'node:test'
import { DAEMON_ROOMS, FLOORS, LIMITS, SEES_ALL, STARTS_PROGRAMS } from './floors.ts'
import { opsHeader } from './generate-ops.ts'

const root = new URL('..', import.meta.url).pathname.replace(/\/$/, '')

function* walk(directory: string): Generator<string> {
  for (const entry of readdirSync(`${root}/${directory}`, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory() && !['node_modules', '.git'].includes(entry.name) && path !== 'build') yield* walk(path)
    else if (entry.isFile()) yield path
  }
}

interface Source {
  readonly path: string
  readonly text: string
  readonly package: string
  readonly imports: readonly string[]
}

const sources: readonly Source[] = [...walk('packages')]
  .filter((path) => path.endsWith('.ts'))
  .map((path) => {
    const text = readFileSync(`${root}/${path}`, 'utf8')
    const imports = [...text.matchAll(/^(?:import|export)\b[^'"]*?from '([^']+)'/gms)].map((match) => match[1] ?? '')
    return { path, text, package: path.split('/')[1] ?? '', imports }
  })
const code = sources.filter((source) => !source.path.endsWith('.test.ts'))

/** All complaints at once: one run shows everything. */
function none(complaints: readonly string[], why: string): void {
  assert.deepEqual(complaints, [], why)
}

it('packages import only from floors below', () => {
  none(
    code.flatMap((source) => source.imports.filter((name) => name.startsWith('@gantry/') && FLOORS[source.package]?.includes(name.slice('@gantry/'.length)) !== true).map((name) => `${source.path} imports ${name}`)),
    'see FLOORS in tools/floors.ts: a library that knows what stands above it cannot be used alone',
  )
})
it('manifests say what is imported', () => {
  none(
    Object.entries(FLOORS).flatMap(([name, allowed]) => {
      const manifest = JSON.parse(readFileSync(`${root}/packages/${name}/package.json`, 'utf8')) as { dependencies?: Record<string, string> }
      return Object.keys(manifest.dependencies ?? {}).filter((one) => one.startsWith('@gantry/') && !allowed.includes(one.slice('@gantry/'.length))).map((one) => `${name} depends on ${one}`)
    }),
    'a manifest must not promise more than FLOORS allows',
  )
  assert.deepEqual(readdirSync(`${root}/packages`).sort(), Object.keys(FLOORS).sort(), 'every package stands in FLOORS')
})
it('a package is entered by its face only, and the face is not imported from inside', () => {
  none(
    code.flatMap((source) => source.imports.filter((name) => /^@gantry\/\w+\//.test(name) || /(^|\/)index\.ts$/.test(name)).map((name) => `${source.path} imports ${name}`)),
    'cycles come from faces: import the file inside, and the package name from outside',
  )
})
it('relative imports name a file that is there and stay inside the package', () => {
  none(
    code.flatMap((source) =>
      source.imports
        .filter((name) => name.startsWith('.'))
        .filter((name) => {
          const target = normalize(join(dirname(source.path), name))
          return !existsSync(`${root}/${target}`) || target.split('/')[1] !== source.package
        })
        .map((name) => `${source.path} imports ${name}`),
    ),
    'a path that leaves the package goes round its face',
  )
})
it('the daemon makes no system call: it imports neither linux nor libcontainer', () => {
  none(code.filter((source) => source.package === 'daemon').flatMap((source) => source.imports.filter((name) => /@gantry\/(linux|libcontainer)$/.test(name)).map((name) => `${source.path} imports ${name}`)), 'invariant 1')
})
it('rooms of the daemon name only the rooms that they may', () => {
  const room = (path: string): string => /^packages\/daemon\/src\/([^/]+)\//.exec(path)?.[1] ?? ''
  none(
    code
      .filter((source) => source.package === 'daemon' && room(source.path) !== '')
      .flatMap((source) =>
        source.imports
          .filter((name) => name.startsWith('.'))
          .map((name) => room(normalize(join(dirname(source.path), name))))
          .filter((target) => target !== '' && target !== room(source.path) && DAEMON_ROOMS[room(source.path)]?.includes(target) !== true)
          .map((target) => `${source.path} names ${target}`),
      ),
    'see DAEMON_ROOMS: services meet in daemon.ts',
  )
})
it('programs are started in named files only', () => {
  none(code.filter((source) => source.text.includes("'node:child_process'") && STARTS_PROGRAMS[source.path] === undefined).map((source) => source.path), 'nothing is shelled out to on a hot path: say in STARTS_PROGRAMS what for')
})
it('ops.h is in step with ops.table.ts', () => assert.equal(readFileSync(`${root}/packages/linux/native/ops.h`, 'utf8'), opsHeader(), 'run: build/node tools/generate-ops.ts > packages/linux/native/ops.h'))
it('files and folders stay small', () => {
  const native = [...walk('packages/linux/native')].map((path) => ({ path, text: readFileSync(`${root}/${path}`, 'utf8') }))
  none([...code, ...native].filter((source) => !source.path.endsWith('.table.ts') && source.text.split('\n').length > LIMITS.linesInFile).map((source) => `${source.path} has ${source.text.split('\n').length} lines`), `split along a noun at ${LIMITS.linesInFile} lines`)
  const folders = new Map<string, number>()
  for (const source of code) folders.set(dirname(source.path), (folders.get(dirname(source.path)) ?? 0) + 1)
  none([...folders].filter(([folder, count]) => count > LIMITS.filesInFolder).map(([folder, count]) => `${folder} holds ${count} files`), 'a room with more than 24 files is two rooms')
  none(code.filter((source) => !SEES_ALL.includes(source.path) && !/(^|\/)(index|handlers|native)\.ts$/.test(source.path) && source.imports.filter((name) => name.startsWith('.') || name.startsWith('@gantry/')).length > LIMITS.ownImports).map((source) => source.path), 'a file that names more than 12 others does two things')
})
it('no file puts off what belongs to it', () => {
  none(
    code.flatMap((source) => source.text.split('\n').flatMap((line, index) => (/\b(TODO|FIXME|XXX|HACK)\b/.test(line) && !/decision \d{4}/.test(line) ? [`${source.path}:${index + 1}`] : []))),
    'a mark without the number of a decision is forgotten',
  )
})
it('no bare catch, no default export, no any', () => {
  none(
    code.flatMap((source) => source.text.split('\n').flatMap((line, index) => (/\bcatch \{|^export default|: any\b|<any>/.test(line) ? [`${source.path}:${index + 1}: ${line.trim()}`] : []))),
    'an error that nobody looks at is a bug that nobody finds',
  )
})
it('every path that a document names is there', () => {
  const documents = ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md', 'STYLE.md', ...walk('docs')].filter((path) => path.endsWith('.md'))
  none(
    documents.flatMap((path) => [...readFileSync(`${root}/${path}`, 'utf8').matchAll(/`((?:packages|tools|tests|bench|docs)\/[\w./*-]+)`/g)].map((match) => match[1] ?? '').filter((name) => !name.includes('*') && !existsSync(`${root}/${name}`)).map((name) => `${path} names ${name}`)),
    'a document that names what is gone misleads',
  )
})
it('decisions are short', () => {
  const decisions = [...walk('docs/decisions')]
  none(decisions.filter((path) => readFileSync(`${root}/${path}`, 'utf8').split('\n').length > LIMITS.decisionLines + 1).map((path) => path), 'question, choice, cost: 40 lines')
  assert.ok(decisions.length > 0)
})
it('scripts can be run', () => none(['gantry', '.ci/run'].filter((path) => (statSync(`${root}/${path}`).mode & 0o111) === 0), 'chmod +x'))
