import { createInterface } from 'node:readline/promises'
import { collect, EngineError } from '@gantry/std'
import { type Command, type Context, filterQuery, splitTag } from '../command.ts'
import { configDirectory } from '../config-file.ts'
import { authHeader, openCredentials, serverNamed } from '../credentials.ts'
import type { Parsed } from '../flags.ts'
import { listing } from '../output.ts'
import { platformQuery } from './images.ts'
import { showProgress } from '../progress.ts'

/** `name` and `tag` or digest, as the API wants them. */
function splitImage(image: string): { readonly name: string; readonly tag: string } {
  const at = image.indexOf('@')
  if (at >= 0) return { name: image.slice(0, at), tag: image.slice(at + 1) }
  const [name, tag] = splitTag(image)
  return { name, tag }
}

/** Pulls one image and shows how far it is. */
export async function pullImage(context: Context, image: string, options: { readonly platform: string; readonly allTags: boolean; readonly quiet: boolean; readonly to?: NodeJS.WriteStream }): Promise<void> {
  const { name, tag } = splitImage(image)
  const response = await context.api.send('POST', '/images/create', { query: { fromImage: name, tag: tag === '' && !options.allTags ? 'latest' : tag, platform: options.platform }, headers: await authHeader(image) })
  await showProgress(response, options)
}

async function pull(context: Context, parsed: Parsed): Promise<number> {
  const [image = ''] = parsed.rest
  const { tag } = splitImage(image)
  const [allTags, quiet] = [parsed.bool('all-tags'), parsed.bool('quiet')]
  if (allTags && tag !== '') throw new EngineError('invalid', 'tag can\'t be used with --all-tags/-a')
  if (tag === '' && !allTags && !quiet) process.stdout.write('Using default tag: latest\n')
  await pullImage(context, image, { platform: parsed.text('platform'), allTags, quiet })
  const shown = tag === '' && !allTags ? `${image}:latest` : image
  process.stdout.write(`${shown}\n`)
  return 0
}

async function push(context: Context, parsed: Parsed): Promise<number> {
  const [image = ''] = parsed.rest
  const { name, tag } = splitImage(image)
  if (parsed.bool('all-tags') && tag !== '') throw new EngineError('invalid', 'tag can\'t be used with --all-tags/-a')
  if (tag === '' && !parsed.bool('all-tags')) process.stdout.write('Using default tag: latest\n')
  const response = await context.api.send('POST', `/images/${name}/push`, { query: { tag: tag === '' && !parsed.bool('all-tags') ? 'latest' : tag, platform: platformQuery(parsed.text('platform')) }, headers: await authHeader(image) })
  await showProgress(response, { quiet: parsed.bool('quiet') })
  if (parsed.bool('quiet')) process.stdout.write(`${image}\n`)
  return 0
}

async function ask(question: string, hidden: boolean): Promise<string> {
  if (!process.stdin.isTTY) throw new EngineError('invalid', 'cannot ask for a password without a terminal: use --password-stdin')
  process.stdout.write(question)
  const lines = createInterface({ input: process.stdin, ...(hidden ? {} : { output: process.stdout }), terminal: true })
  const answer = await lines.question('')
  lines.close()
  if (hidden) process.stdout.write('\n')
  return answer
}

const PASSWORD_LIMIT = 64 << 10

async function login(context: Context, parsed: Parsed): Promise<number> {
  const server = serverNamed(parsed.rest[0] ?? '')
  if (parsed.bool('password-stdin') && parsed.text('username') === '') throw new EngineError('invalid', 'the --password-stdin option requires --username to be set')
  if (parsed.bool('password-stdin') && parsed.text('password') !== '') throw new EngineError('invalid', 'conflicting options: cannot specify both --password and --password-stdin')
  if (parsed.text('password') !== '') process.stderr.write('WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n')
  const username = parsed.text('username') || (await ask('Username: ', false))
  const password = parsed.bool('password-stdin') ? (await collect(process.stdin, PASSWORD_LIMIT)).toString('utf8').replace(/\r?\n$/, '') : parsed.text('password') || (await ask('Password: ', true))
  const auth = { username, password, serveraddress: server }
  const { Status, IdentityToken = '' } = await context.api.json<{ Status: string; IdentityToken?: string }>('POST', '/auth', { json: auth })
  const { inFile } = await openCredentials(configDirectory(process.env)).store(IdentityToken === '' ? auth : { username, identitytoken: IdentityToken, serveraddress: server })
  if (inFile !== undefined) process.stderr.write(`\nWARNING! Your credentials are stored unencrypted in '${inFile}'.\nName a credential helper in it (credsStore) to have them kept safely.\n\n`)
  process.stdout.write(`${Status}\n`)
  return 0
}

async function logout(_: Context, parsed: Parsed): Promise<number> {
  const server = serverNamed(parsed.rest[0] ?? '')
  const there = await openCredentials(configDirectory(process.env)).erase(server)
  process.stdout.write(there ? `Removing login credentials for ${server}\n` : `Not logged in to ${server}\n`)
  return 0
}

interface SearchRow {
  readonly name: string
  readonly description: string
  readonly star_count: number
  readonly is_official: boolean
}

async function search(context: Context, parsed: Parsed): Promise<number> {
  const [term = ''] = parsed.rest
  const rows = await context.api.json<readonly SearchRow[]>('GET', '/images/search', { query: { term, limit: parsed.text('limit'), filters: filterQuery(parsed.list('filter')) }, headers: await authHeader(term) })
  const items = rows.map((row) => ({ Name: row.name, Description: parsed.bool('no-trunc') ? row.description : row.description.slice(0, 45), StarCount: String(row.star_count), IsOfficial: row.is_official ? '[OK]' : '' }))
  process.stdout.write(listing(items, parsed.text('format'), [['NAME', (i) => i.Name], ['DESCRIPTION', (i) => i.Description], ['STARS', (i) => i.StarCount], ['OFFICIAL', (i) => i.IsOfficial]], { Name: 'NAME', Description: 'DESCRIPTION', StarCount: 'STARS', IsOfficial: 'OFFICIAL' }, { full: parsed.bool('no-trunc') }))
  return 0
}

const ALL_TAGS = { name: 'all-tags', short: 'a', kind: 'bool', help: 'All tagged images of the repository' } as const
const CONTENT_TRUST = { name: 'disable-content-trust', kind: 'bool', help: 'Skip image verification (taken for the sake of scripts; signatures are not verified)' } as const
const QUIET = { name: 'quiet', short: 'q', kind: 'bool', help: 'Suppress verbose output' } as const

/** Commands that talk to registries. */
export const REGISTRY_COMMANDS: readonly Command[] = [
  { names: ['pull', 'image pull'], usage: 'pull [OPTIONS] NAME[:TAG|@DIGEST]', help: 'Download an image from a registry', flags: [ALL_TAGS, QUIET, { name: 'platform', kind: 'text', help: 'Set platform if server is multi-platform capable' }, CONTENT_TRUST], run: pull },
  { names: ['push', 'image push'], usage: 'push [OPTIONS] NAME[:TAG]', help: 'Upload an image to a registry', flags: [ALL_TAGS, QUIET, { name: 'platform', kind: 'text', help: 'Push only this platform of an image (os/architecture[/variant])' }, CONTENT_TRUST], run: push },
  { names: ['login'], usage: 'login [OPTIONS] [SERVER]', help: 'Authenticate to a registry', flags: [{ name: 'username', short: 'u', kind: 'text', help: 'Username' }, { name: 'password', short: 'p', kind: 'text', help: 'Password or token' }, { name: 'password-stdin', kind: 'bool', help: 'Take the password from stdin' }], run: login },
  { names: ['logout'], usage: 'logout [SERVER]', help: 'Log out from a registry', flags: [], run: logout },
  { names: ['search'], usage: 'search [OPTIONS] TERM', help: 'Search a registry for images', flags: [{ name: 'filter', short: 'f', kind: 'list', help: 'Filter output based on conditions provided' }, { name: 'limit', kind: 'text', help: 'Max number of search results' }, { name: 'no-trunc', kind: 'bool', help: "Don't truncate output" }, { name: 'format', kind: 'text', help: 'Format output using a custom template' }], run: search },
]
