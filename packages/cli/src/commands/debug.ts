import type { Command } from '../command.ts'
import { EngineError } from '@gantry/std'
import { runBeside } from './run.ts'

const TARGET_ROOT = '/proc/1/root'
const DEFAULT_IMAGE = 'busybox'

interface Inspected {
  readonly Id: string
  readonly Name: string
  readonly State: { readonly Running: boolean }
  readonly HostConfig: { readonly IpcMode: string }
}

/** A shell for containers that have none. */
export const DEBUG_COMMANDS: readonly Command[] = [
  {
    names: ['debug'], usage: 'debug [OPTIONS] CONTAINER [COMMAND] [ARG...]', help: 'Open a toolbox shell beside a container: its processes, its network, its files below /proc/1/root (ours)', stop: true,
    flags: [{ name: 'image', kind: 'text', help: `Image of the toolbox (${DEFAULT_IMAGE})` }, { name: 'user', short: 'u', kind: 'text', help: 'Username or UID in the toolbox' }, { name: 'privileged', kind: 'bool', help: 'Give extended privileges to the toolbox' }],
    run: async (context, parsed) => {
      const [name = '', ...command] = parsed.rest
      const { Id, Name, State, HostConfig } = await context.api.json<Inspected>('GET', `/containers/${name}/json`)
      if (!State.Running) throw new EngineError('conflict', `container ${name} is not running: there is nothing to look at; its files are reached with: gantry cp ${name}:/ -`)
      const tty = process.stdin.isTTY && process.stdout.isTTY
      if (command.length === 0 && tty) process.stderr.write(`Beside ${Name.slice(1)}: its files are in ${TARGET_ROOT}, its processes in ps; exit leaves it as it is.\n`)
      const shared = { PidMode: `container:${Id}`, NetworkMode: `container:${Id}`, ...(HostConfig.IpcMode === 'shareable' && { IpcMode: `container:${Id}` }) }
      return runBeside(context, {
        Image: parsed.text('image') || DEFAULT_IMAGE, Cmd: command.length === 0 ? ['sh'] : command, User: parsed.text('user'), Tty: tty, OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
        Env: [`TARGET=${TARGET_ROOT}`], Labels: { 'gantry.debug': Id }, HostConfig: { ...shared, AutoRemove: true, CapAdd: ['SYS_PTRACE'], Privileged: parsed.bool('privileged') },
      }, tty)
    },
  },
]
