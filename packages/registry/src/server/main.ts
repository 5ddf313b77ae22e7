/** `gantry registry`: a private registry. */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { EngineError, formatRecord, humanSize, logger, messageOf, openLog } from '@gantry/std'
import { ANONYMOUS } from '../auth.ts'
import { engineContent } from './engine-source.ts'
import { manifestChildren } from './manifests.ts'
import { openPasswords } from './passwords.ts'
import { createProxy } from './proxy.ts'
import { createRegistryServer } from './server.ts'
import { openRegistryStore } from './store.ts'

const log = logger('registry.main')
const DEFAULT_ROOT = '/var/lib/gantry-registry'
const DEFAULT_LISTEN = '127.0.0.1:5000'

const OPTIONS = {
  listen: { type: 'string', short: 'l', default: DEFAULT_LISTEN },
  root: { type: 'string', default: DEFAULT_ROOT },
  htpasswd: { type: 'string' },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  engine: { type: 'string' },
  'read-only': { type: 'boolean' },
  proxy: { type: 'string' },
  'proxy-user': { type: 'string' },
  'proxy-insecure': { type: 'boolean' },
  'dry-run': { type: 'boolean' },
  untagged: { type: 'boolean' },
  debug: { type: 'boolean', short: 'D' },
  help: { type: 'boolean', short: 'h' },
} as const

const USAGE = `Usage: gantry registry serve [OPTIONS]
       gantry registry gc [OPTIONS]

serve keeps images for docker, podman, skopeo and others to push and pull.
gc removes content that no image names any more; the server may go on meanwhile.

  -l, --listen HOST:PORT   Address to listen on (default ${DEFAULT_LISTEN})
      --root DIR           Folder to keep content in (default ${DEFAULT_ROOT})
      --engine SOCKET      Serve the images of this engine, too, out of its own store (/run/gantry.sock)
      --htpasswd FILE      Let in only users of this file (htpasswd -B)
      --tls-cert FILE      Serve with TLS: certificate (PEM)
      --tls-key FILE       and its key (PEM)
      --read-only          Take no push and no delete
      --proxy URL          Fetch what is missing from this registry, and keep it
      --proxy-user USER    Log in there; the password comes from GANTRY_PROXY_PASSWORD
      --proxy-insecure     Do not check its certificate
  -D, --debug              Say more

  gc:
      --dry-run            Only tell what would go
      --untagged           Also remove manifests that no tag leads to
`

type Values = ReturnType<typeof parseArgs<{ readonly options: typeof OPTIONS; readonly args: string[]; readonly strict: true; readonly allowPositionals: true }>>['values']

function readPem(path: string | undefined, flag: string): string {
  if (path === undefined) throw new EngineError('invalid', `--${flag} is needed, too`)
  return readFileSync(path, 'utf8')
}

function addressOf(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:(\[[0-9a-fA-F:]+\]|[^:]*):)?(\d{1,5})$/.exec(text)
  const port = Number(match?.[2] ?? -1)
  if (match === null || port > 65_535) throw new EngineError('invalid', `--listen: expected HOST:PORT, got ${JSON.stringify(text)}`)
  return { host: (match[1] ?? '').replace(/^\[|\]$/g, '') || '127.0.0.1', port }
}

async function serve(values: Values): Promise<void> {
  const { host, port } = addressOf(values.listen)
  const store = openRegistryStore(values.root)
  const withTls = values['tls-cert'] !== undefined || values['tls-key'] !== undefined
  const proxy = values.proxy === undefined ? undefined : createProxy(store, { base: values.proxy, tls: { verify: values['proxy-insecure'] !== true, ca: [], cert: '', key: '' } }, { ...ANONYMOUS, username: values['proxy-user'] ?? '', password: process.env['GANTRY_PROXY_PASSWORD'] ?? '' })
  const server = createRegistryServer({
    store, readOnly: values['read-only'] === true || proxy !== undefined,
    ...(withTls && { tls: { cert: readPem(values['tls-cert'], 'tls-cert'), key: readPem(values['tls-key'], 'tls-key') } }),
    ...(values.htpasswd !== undefined && { passwords: await openPasswords(values.htpasswd) }),
    ...(values.engine !== undefined && { behind: engineContent(values.engine.replace(/^unix:\/\//, '')) }),
    ...(proxy !== undefined && { fill: proxy.fill }),
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const address = server.address()
  log.info('ready', { address: `${withTls ? 'https' : 'http'}://${host}:${typeof address === 'object' && address !== null ? address.port : port}`, root: values.root, ...(values.proxy !== undefined && { proxy: values.proxy }) })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      log.info('stopping', { signal })
      proxy?.[Symbol.dispose]()
      server.close(() => process.exit(0))
      server.closeIdleConnections()
      setTimeout(() => server.closeAllConnections(), 5000).unref()
    })
  }
}

function collect(values: Values): void {
  const { blobs, bytes, manifests } = openRegistryStore(values.root).collect({ dryRun: values['dry-run'] === true, untagged: values.untagged === true }, manifestChildren)
  process.stdout.write(`${values['dry-run'] === true ? 'would remove' : 'removed'} ${blobs} blobs, ${humanSize(bytes)}${values.untagged === true ? `, ${manifests} manifests` : ''}\n`)
}

async function main(words: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args: [...words], options: OPTIONS, strict: true, allowPositionals: true })
  const [verb, ...surplus] = positionals
  if (values.help === true || verb === undefined) return void process.stdout.write(USAGE)
  if (surplus.length > 0) throw new EngineError('invalid', `unexpected argument: ${surplus[0]}`)
  openLog(values.debug === true ? 'debug' : 'info', (record) => void process.stderr.write(`${formatRecord(record)}\n`))
  if (verb === 'serve') return serve(values)
  if (verb === 'gc') return collect(values)
  throw new EngineError('invalid', `unknown command: gantry registry ${verb}: expected serve or gc`)
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`gantry registry: ${messageOf(error)}\n`)
  process.exit(1)
})
