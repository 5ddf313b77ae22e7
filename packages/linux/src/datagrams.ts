import { SOCKET } from './constants.ts'
import type { Launcher } from './launcher.ts'
import { syscallProgram } from './program.ts'

/** `sun_path` of `struct sockaddr_un`, bytes. */
const PATH_BYTES = 108

/** Sends messages to a datagram socket in the host's file system (`/dev/log`), each as one datagram: Node has no such sockets. A failure names the step. */
export async function sendDatagrams(launcher: Launcher, path: string, messages: readonly Uint8Array[]): Promise<void> {
  const address = Buffer.alloc(2 + PATH_BYTES)
  address.writeUInt16LE(SOCKET.UNIX, 0)
  address.write(path, 2, PATH_BYTES - 1)
  const program = syscallProgram((p) => {
    const fd = p.register()
    p.call(`socket for ${path}`, 'socket', [SOCKET.UNIX, SOCKET.DGRAM | SOCKET.CLOEXEC, 0], { to: fd })
    p.call(`connect to ${path}`, 'connect', [fd, p.bytes(address), address.length])
    for (const message of messages) p.call(`send to ${path}`, 'sendto', [fd, p.bytes(message), message.length, 0, 0, 0])
    p.call('close it', 'close', [fd])
  })
  await launcher.fork(program)
}
