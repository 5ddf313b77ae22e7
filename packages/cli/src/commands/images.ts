import { createReadStream, createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { EngineError, humanDuration, humanSize } from '@gantry/std'
import { type Command, type Context, each, filterQuery, splitTag } from '../command.ts'
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
  else process.stdout.write(listing(items, parsed.text('format'), [['REPOSITORY', (i) => i.Repository], ['TAG', (i) => i.Tag], ...(parsed.bool('digests') ? [['DIGEST', (i: { readonly Digest: string }) => i.Digest] as const] : []), ['IMAGE ID', (i) => i.ID], ['CREATED', (i) => i.CreatedSince], ['SIZE', (i) => i.Size]], { Repository: 'REPOSITORY', Tag: 'TAG', ID: 'IMAGE ID', CreatedSince: 'CREATED', CreatedAt: 'CREATED AT', Size: 'SIZE', Digest: 'DIGEST' }))
  return 0
}

async function importImage(context: Context, parsed: Parsed): Promise<number> {
  const [source = '', name = ''] = parsed.rest
  const [repo, tag] = splitTag(name)
  const remote = /^https?:\/\//.test(source)
  const body = remote ? undefined : source === '-' ? process.stdin : createReadStream(source)
  await showProgress(await context.api.send('POST', '/images/create', { query: { fromSrc: remote ? source : '-', repo, tag, message: parsed.text('message'), changes: parsed.list('change') }, ...(body !== undefined && { body, contentType: 'application/x-tar' }) }), { quiet: false })
  return 0
}

async function history(context: Context, parsed: Parsed): Promise<number> {
  const rows = await context.api.json<readonly { Id: string; Created: number; CreatedBy: string; Size: number; Comment: string }[]>('GET', `/images/${parsed.rest[0]}/history`)
  const full = parsed.bool('no-trunc')
  const items = rows.map((row) => ({ ID: row.Id === '<missing>' ? row.Id : short(row.Id, full), CreatedSince: `${humanDuration(Date.now() - row.Created * 1000)} ago`, CreatedBy: full ? row.CreatedBy : row.CreatedBy.slice(0, 45), Size: humanSize(row.Size), Comment: row.Comment }))
  if (parsed.bool('quiet')) process.stdout.write(items.map((item) => `${item.ID}\n`).join(''))
  else process.stdout.write(listing(items, parsed.text('format'), [['IMAGE', (i) => i.ID], ['CREATED', (i) => i.CreatedSince], ['CREATED BY', (i) => i.CreatedBy], ['SIZE', (i) => i.Size], ['COMMENT', (i) => i.Comment]], { ID: 'IMAGE', CreatedSince: 'CREATED', CreatedBy: 'CREATED BY', Size: 'SIZE', Comment: 'COMMENT' }))
  return 0
}

const FORMAT = { name: 'format', kind: 'text', help: 'Format output using a custom template' } as const
const QUIET = { name: 'quiet', short: 'q', kind: 'bool', help: 'Only display IDs' } as const
const NO_TRUNC = { name: 'no-trunc', kind: 'bool', help: "Don't truncate output" } as const

/** Commands on images. */
export const IMAGE_COMMANDS: readonly Command[] = [
  { names: ['images', 'image ls', 'image list'], usage: 'images [OPTIONS] [REPOSITORY[:TAG]]', help: 'List images', run: images, flags: [{ name: 'all', short: 'a', kind: 'bool', help: 'Show all images' }, { name: 'digests', kind: 'bool', help: 'Show digests' }, { name: 'tree', kind: 'bool', help: 'Show which image was made from which' }, QUIET, { name: 'filter', short: 'f', kind: 'list', help: 'Filter output based on conditions provided' }, FORMAT, NO_TRUNC] },
  { names: ['image inspect'], usage: 'image inspect [OPTIONS] IMAGE [IMAGE...]', help: 'Display detailed information on one or more images', minimum: 1, flags: [{ ...FORMAT, short: 'f' }], run: (context, parsed) => inspectAll(parsed.rest, parsed.text('format'), (name) => context.api.json('GET', `/images/${name}/json`), (name) => `Error: No such image: ${name}`) },
  { names: ['history', 'image history'], usage: 'history [OPTIONS] IMAGE', help: 'Show the history of an image', minimum: 1, flags: [QUIET, FORMAT, NO_TRUNC], run: history },
  {
    names: ['tag', 'image tag'], usage: 'tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]', help: 'Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE', minimum: 2, flags: [],
    run: async (context, parsed) => {
      const [repo, tag] = splitTag(parsed.rest[1] ?? '')
      await context.api.send('POST', `/images/${parsed.rest[0]}/tag`, { query: { repo, tag } })
      return 0
    },
  },
  {
    names: ['rmi', 'image rm', 'image remove'], usage: 'rmi [OPTIONS] IMAGE [IMAGE...]', help: 'Remove one or more images', minimum: 1, flags: [{ name: 'force', short: 'f', kind: 'bool', help: 'Force removal of the image' }],
    run: (context, parsed) =>
      each(parsed.rest, async (name) => {
        const lines = await context.api.json<readonly { Untagged?: string; Deleted?: string }[]>('DELETE', `/images/${name}`, { query: { force: parsed.bool('force') } })
        return lines.map((line) => (line.Untagged === undefined ? `Deleted: ${line.Deleted}` : `Untagged: ${line.Untagged}`)).join('\n')
      }),
  },
  {
    names: ['load', 'image load'], usage: 'load [OPTIONS]', help: 'Load an image from a tar archive or STDIN', flags: [{ name: 'input', short: 'i', kind: 'text', help: 'Read from tar archive file, instead of STDIN' }, { ...QUIET, help: 'Suppress the load output' }],
    run: async (context, parsed) => {
      const body = parsed.text('input') === '' ? process.stdin : createReadStream(parsed.text('input'))
      await showProgress(await context.api.send('POST', '/images/load', { query: { quiet: parsed.bool('quiet') }, body, contentType: 'application/x-tar' }), { quiet: parsed.bool('quiet') })
      return 0
    },
  },
  {
    names: ['save', 'image save'], usage: 'save [OPTIONS] IMAGE [IMAGE...]', help: 'Save one or more images to a tar archive', minimum: 1, flags: [{ name: 'output', short: 'o', kind: 'text', help: 'Write to a file, instead of STDOUT' }],
    run: async (context, parsed) => {
      if (parsed.text('output') === '' && process.stdout.isTTY) throw new EngineError('invalid', 'cowardly refusing to save to a terminal. Use the -o flag or redirect')
      const response = await context.api.send('GET', '/images/get', { query: { names: parsed.rest } })
      await pipeline(response, parsed.text('output') === '' ? process.stdout : createWriteStream(parsed.text('output')))
      return 0
    },
  },
  { names: ['import', 'image import'], usage: 'import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]', help: 'Import the contents from a tarball to create a filesystem image', minimum: 1, flags: [{ name: 'change', short: 'c', kind: 'list', help: 'Apply Dockerfile instruction to the created image' }, { name: 'message', short: 'm', kind: 'text', help: 'Set commit message for imported image' }], run: importImage },
]
