import { EngineError } from '@gantry/std'

/** A file of a list: what a builder has to know to say whether it has its content already. */
export interface FileRow {
  /** Below the top, no slash at the beginning; in a list that is read: Latin-1 text that keeps every byte. */
  readonly path: string
  /** As `stat(2)` has it, with its type. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  /** Nanoseconds since 1970. */
  readonly modTime: bigint
  /** Target of a symbolic link; of a file: the path where it came before by another name. */
  readonly link: string
}

/** Types in `mode` (`S_IFMT`, linux/stat.h). */
export const FILE_TYPE = { mask: 0o170000, directory: 0o040000, link: 0o120000, file: 0o100000 } as const

/** Text of a row: numbers, path and target, each with a NUL behind it (body of `POST /build/context`). */
export function fileRow({ path, mode, uid, gid, size, modTime, link }: FileRow): string {
  return `${mode} ${uid} ${gid} ${size} ${modTime}\0${path}\0${link}\0`
}

/** The rows of a list, as views. */
export function* fileRows(list: Buffer): Generator<Buffer> {
  for (let at = 0; at < list.length; ) {
    let end = at
    for (let field = 0; field < 3; field++) {
      end = list.indexOf(0, end)
      if (end < 0) throw new EngineError('invalid', 'the list of files is cut off')
      end++
    }
    yield list.subarray(at, end)
    at = end
  }
}

/** Reads one row. */
export function readFileRow(row: Buffer): FileRow {
  const [numbers = '', path = '', link = ''] = row.toString('latin1').split('\0')
  const match = /^(\d{1,7}) (\d{1,10}) (\d{1,10}) (\d{1,15}) (-?\d{1,20})$/.exec(numbers)
  if (match === null || path === '') throw new EngineError('invalid', `row ${JSON.stringify(numbers)} of the list of files: expected mode, uid, gid, size and time`)
  return { path, mode: Number(match[1]), uid: Number(match[2]), gid: Number(match[3]), size: Number(match[4]), modTime: BigInt(match[5] ?? 0), link }
}
