import { type Launcher, PR, type ProgramBuilder, SOCKET, syscallProgram } from '@gantry/linux'
import { logger, messageOf } from '@gantry/std'

const log = logger('libnetwork.watch')
/** NFNLGRP_NFTABLES (`linux/netfilter/nfnetlink.h`), as a bit */
const GROUP = 1 << (7 - 1)
const AF_NETLINK = 16
const SIGKILL = 9
const SO = { SOCKET: 1, ATTACH_FILTER: 26 } as const
/** Longer than a child takes until it listens. */
const ARMED_MS = 50
const AFTER_FAILURE_MS = 5000

/** `struct sockaddr_nl` */
export function netlinkAddress(port: number, groups: number): Buffer {
  const address = Buffer.alloc(12)
  address.writeUInt16LE(AF_NETLINK, 0)
  address.writeUInt32LE(port, 4)
  address.writeUInt32LE(groups, 8)
  return address
}

/** Classic BPF (`linux/filter.h`): everything but messages of one sender (`nlmsg_pid`, which BPF reads the other way round). */
function notFrom(port: number): Buffer {
  const sender = Buffer.alloc(4)
  sender.writeUInt32LE(port)
  const program: readonly (readonly [code: number, whenTrue: number, whenFalse: number, k: number])[] = [[0x20, 0, 0, 12], [0x15, 0, 1, sender.readUInt32BE()], [0x06, 0, 0, 0], [0x06, 0, 0, 0xffffffff]]
  return Buffer.concat(
    program.map(([code, whenTrue, whenFalse, k]) => {
      const instruction = Buffer.alloc(8)
      instruction.writeUInt16LE(code, 0)
      instruction[2] = whenTrue
      instruction[3] = whenFalse
      instruction.writeUInt32LE(k, 4)
      return instruction
    }),
  )
}

/** Ends with the first change. */
function awaitChange(p: ProgramBuilder, own: number): void {
  const [fd, filter] = [p.register(), notFrom(own)]
  const [shown, message] = [p.room(16), p.room(64)]
  p.call('go with the launcher', 'prctl', [PR.SET_PDEATHSIG, SIGKILL, 0, 0, 0])
  p.call('netfilter socket', 'socket', [SOCKET.NETLINK, SOCKET.RAW | SOCKET.CLOEXEC, SOCKET.NETFILTER], { to: fd })
  p.op('instructions of its filter', 'store', [{ blob: shown.blob, length: 8 }, filter.length / 8, 8])
  p.op('where they are', 'store', [{ blob: shown.blob + 8, length: 8 }, p.bytes(filter), 8])
  p.call('leave out what we do ourselves', 'setsockopt', [fd, SO.SOCKET, SO.ATTACH_FILTER, shown, 16])
  p.call('listen to changes of nftables', 'bind', [fd, p.bytes(netlinkAddress(0, GROUP)), 12])
  // More than the socket holds (ENOBUFS) is a change, too.
  p.call('await a change', 'recvfrom', [fd, message, 64, 0, 0, 0], { ignore: true })
}

/** Calls `changed` whenever somebody else has changed rules of nftables. `own`: netlink port of the socket with which we change ours. */
export function watchRules(launcher: Launcher, own: () => number, changed: () => Promise<void>): Disposable {
  let over = false
  const pause = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms).unref())
  const watch = async (): Promise<void> => {
    const armed = launcher.fork(syscallProgram((p) => awaitChange(p, own())))
    armed.catch(() => undefined) // awaited below
    // What has changed before it listened nobody has told of.
    await pause(ARMED_MS)
    if (!over) await changed()
    await armed
    if (!over) await changed()
  }
  const keepWatching = async (): Promise<void> => {
    while (!over) {
      await watch().catch(async (cause: unknown) => {
        if (over) return
        log.warn('cannot watch the rules of nftables', { reason: messageOf(cause) })
        await pause(AFTER_FAILURE_MS)
      })
    }
  }
  void keepWatching()
  return {
    [Symbol.dispose]: () => {
      over = true
    },
  }
}
