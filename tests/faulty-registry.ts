/** A registry whose repositories misbehave by their names: `cut/x` breaks blobs off, `wrong/x` gives other content, and so on. Runs in a daemon's network namespace. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createRegistryServer, openRegistryStore } from '../packages/registry/src/index.ts'

const [, , root = '', port = ''] = process.argv
const store = openRegistryStore(root)
const inner = createRegistryServer({ store })
const counts = new Map<string, number>()
const count = (key: string): number => {
  counts.set(key, (counts.get(key) ?? 0) + 1)
  return counts.get(key) ?? 0
}
const CUT_BYTES = 300_000

/** Sends a part of the answer, then nothing more. */
function cutOff(response: ServerResponse): void {
  const write = response.write.bind(response) as (chunk: Buffer) => boolean
  const { socket } = response
  let sent = 0
  response.write = ((chunk: Buffer): boolean => {
    const part = chunk.subarray(0, Math.max(0, CUT_BYTES - sent))
    sent += chunk.length
    const more = write(part)
    if (sent > CUT_BYTES) setTimeout(() => socket?.destroy(), 50)
    return more
  }) as typeof response.write
}

function corrupt(response: ServerResponse): void {
  const write = response.write.bind(response) as (chunk: Buffer) => boolean
  response.write = ((chunk: Buffer): boolean => write(Buffer.from(chunk).fill(0x78, 500, 510))) as typeof response.write
}

function handle(request: IncomingMessage, response: ServerResponse): void {
  const url = request.url ?? ''
  const fault = /^\/v2\/([a-z]+)\//.exec(url)?.[1] ?? ''
  const isBlob = request.method === 'GET' && /\/blobs\/sha256:/.test(url)
  // Content lies below `good/x` for all of them.
  if (!url.startsWith('/v2/good/') && fault !== '') request.url = url.replace(/^\/v2\/[a-z]+\//, '/v2/good/')
  const size = Number(store.blob('good/x', /sha256:\w+/.exec(url)?.[0] ?? '')?.size ?? 0)
  const isLayer = isBlob && size > 100_000
  if (fault === 'cut' && isLayer) cutOff(response)
  else if (fault === 'ever' && isLayer) {
    // Never gets further than the first part: ranges are not honoured either.
    delete request.headers.range
    cutOff(response)
  } else if (fault === 'norange' && isLayer) {
    delete request.headers.range
    if (count(url) === 1) cutOff(response)
  } else if (fault === 'wrong' && isLayer) corrupt(response)
  else if (fault === 'busy' && count(url) <= 2) {
    response.writeHead(429, { 'Retry-After': '0' })
    response.end()
    return
  } else if (fault === 'down' && isBlob) {
    response.writeHead(500)
    response.end()
    return
  } else if (fault === 'loop' && isBlob) {
    response.writeHead(302, { Location: url })
    response.end()
    return
  } else if (fault === 'short' && isLayer) {
    response.writeHead(200, { 'Content-Length': '10' })
    response.end('ten bytes.')
    return
  }
  inner.emit('request', request, response)
}

createServer(handle).listen(Number(port), '127.0.0.1', () => process.stdout.write('ready\n'))
