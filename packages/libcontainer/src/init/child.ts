import { AT, ERRNO, O, PR, type ProgramBuilder, type Register } from '@gantry/linux'
import type { StdioRegisters } from './stdio.ts'

const SIGKILL = 9

/** Environment of a host's program (CRIU, LXC, another runtime): nothing of the engine's own reaches it. */
export const HOST_ENVIRONMENT = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin']

/** A program of the host that a start runs beside the container, or steps that only a child may do. */
export type ChildWork =
  | { readonly path: string; readonly args: readonly string[]; readonly env: readonly string[]; readonly stdio?: StdioRegisters['process']; /** It ends with whoever waits for it. */ readonly dies?: boolean }
  | { readonly inside: () => void }

/** Waits for a child; an end that is not well is a failure of the program. */
export function awaitWell(p: ProgramBuilder, what: string, child: Register): void {
  p.scoped(() => {
    const [ended, result, good] = [p.room(8), p.register(), p.label()]
    p.call(`wait for ${what}`, 'wait4', [child, ended, 0, 0])
    p.op('how it ended', 'load', [ended, 4], { to: result })
    p.op('is it well', 'jumpIfZero', [result, good])
    p.op(what, 'fail', [ERRNO.ECHILD])
    p.place(good)
  })
}

/** Runs it in a child and waits; an end that is not well is a failure of the program. */
export function runProgram(p: ProgramBuilder, what: string, work: ChildWork): void {
  p.scoped(() => {
    const child = p.register()
    const [begin, on] = [p.label(), p.label()]
    p.op(`start ${what}`, 'fork', [begin], { to: child })
    p.op('go on', 'jump', [on])
    p.place(begin)
    if ('inside' in work) {
      work.inside()
      p.op('done', 'end', [])
    } else {
      if (work.dies === true) p.call('die with the shim', 'prctl', [PR.SET_PDEATHSIG, SIGKILL, 0, 0, 0])
      p.call('own signals', 'rt_sigprocmask', [2, p.bytes(Buffer.alloc(8)), 0, 8])
      const nothing = p.register()
      if (work.stdio === undefined) p.call('open /dev/null', 'openat', [AT.FDCWD, p.text('/dev/null'), O.RDWR | O.CLOEXEC, 0], { to: nothing })
      const ends = work.stdio ?? { in: nothing, out: nothing, err: nothing }
      for (const [fd, end] of [ends.in, ends.out, ends.err].entries()) p.call(`descriptor ${fd}`, 'dup3', [end, fd, 0])
      p.op(`${what}: ${work.path}`, 'exec', [p.strings([work.path]), 1, p.pointers(work.args), work.args.length, p.pointers(work.env), work.env.length])
    }
    p.place(on)
    awaitWell(p, what, child)
  })
}
