import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { EngineError, parseBytes } from '@gantry/std'

/** What options of the local driver come to. */
export interface LocalOptions {
  /** Mounted while a container has the volume; undefined: a plain directory. */
  readonly mount: { readonly type: string; readonly source: string; readonly flags: number; readonly data: string } | undefined
  /** Bytes that may be written; undefined: as many as there are. */
  readonly bytes: number | undefined
}

/** Options of mount(8) that are flags of mount(2) (`linux/mount.h`); those of 0 are what is so anyway. */
const FLAGS: Readonly<Record<string, number>> = {
  ro: 1, rw: 0, nosuid: 2, suid: 0, nodev: 4, dev: 0, noexec: 8, exec: 0, sync: 16, async: 0, remount: 32, mand: 64, dirsync: 128, noatime: 1024, nodiratime: 2048, bind: 4096, rbind: 4096 | 16384, relatime: 1 << 21, strictatime: 1 << 24, defaults: 0,
}
const KNOWN: ReadonlySet<string> = new Set(['type', 'o', 'device', 'size'])

/** Reads `type`, `o`, `device` and `size` (Docker's local driver). */
export function localOptions(options: Readonly<Record<string, string>>): LocalOptions {
  for (const key of Object.keys(options)) if (!KNOWN.has(key)) throw new EngineError('invalid', `invalid option: "${key}"`)
  const { type = '', o = '', device = '', size = '' } = options
  const bytes = size === '' ? undefined : parseBytes(size)
  if (type === '' && o === '' && device === '') return { mount: undefined, bytes }
  if (device === '') throw new EngineError('invalid', 'missing required option: "device"')
  if (type === '' && !/(^|,)r?bind(,|$)/.test(o)) throw new EngineError('invalid', 'missing required option: "type"')
  if (bytes !== undefined) throw new EngineError('invalid', 'quota size cannot be combined with type, o or device')
  const words = o.split(',').filter((word) => word !== '')
  const flags = words.reduce((sum, word) => sum | (FLAGS[word] ?? 0), 0)
  return { mount: { type: type === 'none' ? '' : type, source: device, flags, data: words.filter((word) => FLAGS[word] === undefined).join(',') }, bytes: undefined }
}

/** The kernel takes addresses only: `addr=` of NFS and CIFS may be a name. */
export async function resolvedData(type: string, data: string): Promise<string> {
  if (!/^(nfs4?|cifs|smb3)$/.test(type)) return data
  const words = await Promise.all(
    data.split(',').map(async (word) => {
      const host = /^addr=(.+)$/.exec(word)?.[1]
      if (host === undefined || isIP(host) !== 0) return word
      const { address } = await lookup(host).catch((cause: unknown) => {
        throw new EngineError('unavailable', `error resolving passed in network volume address: ${host}`, { cause })
      })
      return `addr=${address}`
    }),
  )
  return words.join(',')
}
