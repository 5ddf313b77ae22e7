import { createReadStream, createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { EngineError, humanDuration, humanSize, messageOf } from '@gantry/std'
import { checkName, type Command, type Context, each, filterQuery, splitTag } from '../command.ts'
import type { Parsed } from '../flags.ts'
import { listing, short } from '../output.ts'
import { showProgress } from '../progress.ts'
import { inspectAll } from './containers.ts'

interface Row {
  readonly Id: string
  readonly RepoTags: readonly string[]
  readonly RepoDigests: readonly string[]
  readonly ParentId: string
  readonly Containers: number
  readonly Created: number
  readonly Size: number
}

/** Images below those that they were made from. */
function tree(rows: readonly Row[], full: boolean): string {
  const known = new Set(rows.map((row) => row.Id))
  const show = (row: Row, indent: string, last: boolean, top: boolean): string => {
    const mark = top ? '' : `${indent}${last ? '└─ ' : '├─ '}`
    const below = rows.filter((one) => one.ParentId === row.Id)
    const names = row.RepoTags.length === 0 ? '<none>' : row.RepoTags.join(', ')
    const line = `${mark}${names}  ${short(row.Id, full)}  ${humanSize(row.Size)}${row.Containers > 0 ? `  ${row.Containers} in use` : ''}\n`
    return line + below.map((one, index) => show(one, top ? '' : `${indent}${last ? '   ' : '│  '}`, index === below.length - 1, false)).join('')
  }
  return rows.filter((row) => !known.has(row.ParentId)).map((row) => show(row, '', true, true)).join('')
}

/** `linux/amd64` as the API takes it, in JSON. */
export function platformQuery(text: string): string | undefined {
  if (text === '') return undefined
  const [os = '', architecture = '', variant] = text.split('/')
  if (os === '' || architecture === '') throw new EngineError('invalid', `invalid platform: ${JSON.stringify(text)}: expected os/architecture[/variant]`)
  return JSON.stringify({ os, architecture, ...(variant !== undefined && { variant }) })
}

const digestOf = (row: Row, repository: string): string => row.RepoDigests.find((one) => one.startsWith(`${repository}@`))?.split('@')[1] ?? '<none>'

async function images(context: Context, parsed: Parsed): Promise<number> {
  const filters = [...parsed.list('filter'), ...parsed.rest.map((name) => `reference=${name}`)]
  const rows = await context.api.json<readonly Row[]>('GET', '/images/json', { query: { all: parsed.bool('all') || parsed.bool('tree'), filters: filterQuery(filters) } })
  const full = parsed.bool('no-trunc')
  if (parsed.bool('tree')) {
    process.stdout.write(tree(rows, full))
    return 0
  }
  const items = rows.flatMap((row) =>
    (row.RepoTags.length === 0 ? ['<none>:<none>'] : row.RepoTags).map((tag) => ({
      Repository: tag.slice(0, tag.lastIndexOf(':')), Tag: tag.slice(tag.lastIndexOf(':') + 1), ID: short(row.Id, full), CreatedSince: `${humanDuration(Date.now() - row.Created * 1000)} ago`, CreatedAt: new Date(row.Created * 1000).toISOString(), Size: humanSize(row.Size), Digest: digestOf(row, tag.slice(0, tag.lastIndexOf(':'))),
    })),
  )
  if (parsed.bool('quiet')) process.stdout.write([...new Set(items.map((item) => item.ID))].map((id) => `${id}\n`).join(''))
  else process.stdout.write(listing(items, parsed.text('format') || context.setting('imagesFormat'), [['REPOSITORY', (i) => i.Repository], ['TAG', (i) => i.Tag], ...(parsed.bool('digests') ? [['DIGEST', (i: { readonly Digest: string }) => i.Digest] as const] : []), ['IMAGE ID', (i) => i.ID], ['CREATED', (i) => i.CreatedSince], ['SIZE', (i) => i.Size]], { Repository: 'REPOSITORY', Tag: 'TAG', ID: 'IMAGE ID', CreatedSince: 'CREATED', CreatedAt: 'CREATED AT', Size: 'SIZE', Digest: 'DIGEST' }, { full }))
  return 0
}

async function importImage(context: Context, parsed: Parsed): Promise<number> {
  const [source = '', name = ''] = parsed.rest
  const [repo, tag] = splitTag(name)
  const remote = /^https?:\/\//.test(source)
  const body = remote ? undefined : source === '-' ? process.stdin : createReadStream(source)
  await showProgress(await context.api.send('POST', '/images/create', { query: { fromSrc: remote ? source : '-', repo, tag, message: parsed.text('message'), platform: parsed.text('platform'), changes: parsed.list('change') }, ...(body !== undefined && { body, contentType: 'application/x-tar' }) }), { quiet: false })
  return 0
}

async function history(context: Context, parsed: Parsed): Promise<number> {
  const rows = await context.api.json<readonly { Id: string; Created: number; CreatedBy: string; Size: number; Comment: string }[]>('GET', `/images/${parsed.rest[0]}/history`, { query: { platform: platformQuery(parsed.text('platform')) } })
  const full = parsed.bool('no-trunc')
  const human = !parsed.has('human') || parsed.bool('human')
  const items = rows.map((row) => ({ ID: row.Id === '<missing>' ? row.Id : short(row.Id, full), CreatedSince: human ? `${humanDuration(Date.now() - row.Created * 1000)} ago` : new Date(row.Created * 1000).toISOString().replace('.000', ''), CreatedBy: full || row.CreatedBy.length <= 45 ? row.CreatedBy : `${row.CreatedBy.slice(0, 44)}…`, Size: human ? humanSize(row.Size, 3) : String(row.Size), Comment: row.Comment }))
  if (parsed.bool('quiet')) process.stdout.write(items.map((item) => `${item.ID}\n`).join(''))
  else process.stdout.write(listing(items, parsed.text('format'), [['IMAGE', (i) => i.ID], ['CREATED', (i) => i.CreatedSince], ['CREATED BY', (i) => i.CreatedBy], ['SIZE', (i) => i.Size], ['COMMENT', (i) => i.Comment]], { ID: 'IMAGE', CreatedSince: 'CREATED', CreatedBy: 'CREATED BY', Size: 'SIZE', Comment: 'COMMENT' }, { full }))
  return 0
}

const PLATFORM = { name: 'platform', kind: 'text', help: 'Of this platform, where an image is there for several (os/architecture[/variant])' } as const
const FORMAT = { name: 'format', kind: 'text', help: 'Format output using a custom template' } as const
const QUIET = { name: 'quiet', short: 'q', kind: 'bool', help: 'Only display IDs' } as const
const NO_TRUNC = { name: 'no-trunc', kind: 'bool', help: "Don't truncate output" } as const

function checkTagged(name: string): void {
  try {
    checkName(name)
  } catch (cause) {
    throw new EngineError('invalid', `Error parsing reference: ${JSON.stringify(name)} is not a valid repository/tag: ${messageOf(cause)}`, { cause })
  }
}

/** Commands on images. */
export const IMAGE_COMMANDS: readonly Command[] = [
  { names: ['images', 'image ls', 'image list'], usage: 'images [OPTIONS] [REPOSITORY[:TAG]]', help: 'List images', run: images, flags: [{ name: 'all', short: 'a', kind: 'bool', help: 'Show all images' }, { name: 'digests', kind: 'bool', help: 'Show digests' }, { name: 'tree', kind: 'bool', help: 'Show which image was made from which' }, QUIET, { name: 'filter', short: 'f', kind: 'list', help: 'Filter output based on conditions provided' }, FORMAT, NO_TRUNC] },
  { names: ['image inspect'], usage: 'image inspect [OPTIONS] IMAGE [IMAGE...]', help: 'Display detailed information on one or more images', flags: [{ ...FORMAT, short: 'f' }, PLATFORM], run: (context, parsed) => inspectAll(parsed.rest, parsed.text('format'), (name) => context.api.json('GET', `/images/${name}/json`, { query: { platform: platformQuery(parsed.text('platform')) } })) },
  { names: ['history', 'image history'], usage: 'history [OPTIONS] IMAGE', help: 'Show the history of an image', flags: [QUIET, FORMAT, NO_TRUNC, { name: 'human', short: 'H', kind: 'bool', help: 'Print sizes and dates in human readable format (default true)' }, PLATFORM], run: history },
  {
    names: ['tag', 'image tag'], usage: 'tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]', help: 'Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE', flags: [],
    run: async (context, parsed) => {
      const [from = '', name = ''] = parsed.rest
      checkTagged(name)
      const [repo, tag] = splitTag(name)
      await context.api.send('POST', `/images/${from}/tag`, { query: { repo, tag } })
      return 0
    },
  },
  {
    names: ['rmi', 'image rm', 'image remove'], usage: 'rmi [OPTIONS] IMAGE [IMAGE...]', help: 'Remove one or more images', flags: [{ name: 'force', short: 'f', kind: 'bool', help: 'Force removal of the image' }, { name: 'no-prune', kind: 'bool', help: 'Do not delete untagged parents' }, { name: 'platform', kind: 'list', help: 'Remove only these platforms of an image' }],
    run: (context, parsed) =>
      each(parsed.rest, async (name) => {
        const lines = await context.api.json<readonly { Untagged?: string; Deleted?: string }[]>('DELETE', `/images/${name}`, { query: { force: parsed.bool('force'), noprune: parsed.bool('no-prune'), platforms: parsed.list('platform').flatMap((one) => platformQuery(one) ?? []) } })
        return lines.map((line) => (line.Untagged === undefined ? `Deleted: ${line.Deleted}` : `Untagged: ${line.Untagged}`)).join('\n')
      }),
  },
  {
    names: ['load', 'image load'], usage: 'load [OPTIONS]', help: 'Load an image from a tar archive or STDIN', flags: [{ name: 'input', short: 'i', kind: 'text', help: 'Read from tar archive file, instead of STDIN' }, { ...QUIET, help: 'Suppress the load output' }, PLATFORM],
    run: async (context, parsed) => {
      const body = parsed.text('input') === '' ? process.stdin : createReadStream(parsed.text('input'))
      await showProgress(await context.api.send('POST', '/images/load', { query: { quiet: parsed.bool('quiet'), platform: platformQuery(parsed.text('platform')) }, body, contentType: 'application/x-tar' }), { quiet: parsed.bool('quiet') })
      return 0
    },
  },
  {
    names: ['save', 'image save'], usage: 'save [OPTIONS] IMAGE [IMAGE...]', help: 'Save one or more images to a tar archive', flags: [{ name: 'output', short: 'o', kind: 'text', help: 'Write to a file, instead of STDOUT' }, PLATFORM],
    run: async (context, parsed) => {
      if (parsed.text('output') === '' && process.stdout.isTTY) throw new EngineError('invalid', 'cowardly refusing to save to a terminal. Use the -o flag or redirect')
      const response = await context.api.send('GET', '/images/get', { query: { names: parsed.rest, platform: platformQuery(parsed.text('platform')) } })
      await pipeline(response, parsed.text('output') === '' ? process.stdout : createWriteStream(parsed.text('output')))
      return 0
    },
  },
  { names: ['import', 'image import'], usage: 'import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]', help: 'Import the contents from a tarball to create a filesystem image', flags: [{ name: 'change', short: 'c', kind: 'list', help: 'Apply Dockerfile instruction to the created image' }, { name: 'message', short: 'm', kind: 'text', help: 'Set commit message for imported image' }, PLATFORM], run: importImage },
]
