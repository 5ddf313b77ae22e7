import { execFile } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { BLOCK, encodeHeader, type Graph, padding, type TarEntry } from '@gantry/graph'
import { EngineError, logger } from '@gantry/std'
import { importImage } from './make.ts'

const log = logger('daemon.images.bundled')
const NAME = 'busybox:latest'

/** Names of the programs in a busybox binary, with their places. */
function applets(busybox: string): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    execFile(busybox, ['--list-full'], (error, stdout) => {
      if (error === null) resolve(stdout.split('\n').filter((line) => /^[\w./[-]+$/.test(line)))
      else reject(new EngineError('internal', `cannot list the programs of ${busybox}`, { cause: error }))
    })
  })
}

const EPOCH = 1_700_000_000
const FILES: Readonly<Record<string, string>> = {
  'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nbin:x:2:2:bin:/bin:/bin/false\nsys:x:3:3:sys:/dev:/bin/false\nsync:x:4:100:sync:/bin:/bin/sync\nmail:x:8:8:mail:/var/spool/mail:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\noperator:x:37:37:Operator:/var:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n',
  'etc/group': 'root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nmail:x:8:\nwheel:x:10:root\nwww-data:x:33:\noperator:x:37:\nstaff:x:50:\nusers:x:100:\nnogroup:x:65534:\n',
  'etc/shadow': 'root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n',
}

function entry(path: string, type: TarEntry['type'], mode: number, size = 0, link = ''): TarEntry {
  return { path, type, mode, uid: 0, gid: 0, size, mtimeSeconds: EPOCH, mtimeNanos: 0, link, major: 0, minor: 0, xattrs: new Map() }
}

async function* rootFileSystem(busybox: string): AsyncGenerator<Buffer> {
  const directories = ['bin', 'dev', 'etc', 'home', 'lib', 'proc', 'root', 'sbin', 'sys', 'tmp', 'usr', 'usr/bin', 'usr/sbin', 'var', 'var/log', 'var/run', 'var/spool', 'var/tmp', 'var/www']
  for (const path of directories) yield encodeHeader(entry(path, 'directory', path.endsWith('tmp') ? 0o1777 : path === 'root' ? 0o700 : 0o755))
  const program = readFileSync(busybox)
  const file = (path: string, mode: number, content: Buffer): readonly Buffer[] => [encodeHeader(entry(path, 'file', mode, content.length)), content, padding(content.length)]
  yield* file('bin/busybox', 0o755, program)
  for (const [path, content] of Object.entries(FILES)) yield* file(path, path === 'etc/shadow' ? 0o640 : 0o644, Buffer.from(content))
  const seen = new Set(['bin/busybox'])
  for (const full of await applets(busybox)) {
    const name = full.split('/').at(-1) ?? full
    // People call them as /bin/NAME whatever their place is.
    for (const path of [full, `bin/${name}`]) {
      if (seen.has(path) || !directories.includes(path.split('/').slice(0, -1).join('/'))) continue
      seen.add(path)
      yield encodeHeader(entry(path, 'link', 0o777, 0, '/bin/busybox'))
    }
  }
  yield Buffer.alloc(BLOCK * 2)
}

/** Makes `busybox:latest` from Debian's static busybox when the store holds no image at all. */
export async function ensureBundledImage(graph: Graph, busybox: string): Promise<void> {
  if (busybox === '' || graph.images.list().length > 0) return
  if (statSync(busybox, { throwIfNoEntry: false }) === undefined) {
    log.warn('no bundled image: busybox is missing; install it with: apt-get install busybox-static', { path: busybox })
    return
  }
  const image = await importImage(graph, rootFileSystem(busybox), { message: `from ${busybox}`, changes: ['CMD ["sh"]'], small: true })
  graph.tags.set(NAME, image.id)
  log.info('made the bundled image', { name: NAME, id: image.id })
}
