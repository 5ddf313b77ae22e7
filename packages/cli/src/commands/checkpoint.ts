import type { Command } from '../command.ts'
import { table } from '../output.ts'

const DIRECTORY = { name: 'checkpoint-dir', kind: 'text', help: 'Use a custom checkpoint storage directory' } as const

/** Commands about frozen containers (CRIU). */
export const CHECKPOINT_COMMANDS: readonly Command[] = [
  {
    names: ['checkpoint create'], usage: 'checkpoint create [OPTIONS] CONTAINER CHECKPOINT', help: 'Create a checkpoint from a running container',
    flags: [{ name: 'leave-running', kind: 'bool', help: 'Leave the container running after checkpoint' }, DIRECTORY],
    async run(context, parsed) {
      const [container = '', name = ''] = parsed.rest
      await context.api.send('POST', `/containers/${container}/checkpoints`, { json: { CheckpointID: name, CheckpointDir: parsed.text('checkpoint-dir'), Exit: !parsed.bool('leave-running') } })
      process.stdout.write(`${name}\n`)
      return 0
    },
  },
  {
    names: ['checkpoint ls', 'checkpoint list'], usage: 'checkpoint ls [OPTIONS] CONTAINER', help: 'List checkpoints for a container', flags: [DIRECTORY],
    async run(context, parsed) {
      const found = await context.api.json<readonly { readonly Name: string }[]>('GET', `/containers/${parsed.rest[0]}/checkpoints`, { query: { dir: parsed.text('checkpoint-dir') } })
      process.stdout.write(table([['CHECKPOINT NAME'], ...found.map((one) => [one.Name])]))
      return 0
    },
  },
  {
    names: ['checkpoint rm', 'checkpoint remove'], usage: 'checkpoint rm [OPTIONS] CONTAINER CHECKPOINT', help: 'Remove a checkpoint', flags: [DIRECTORY],
    async run(context, parsed) {
      await context.api.send('DELETE', `/containers/${parsed.rest[0]}/checkpoints/${parsed.rest[1]}`, { query: { dir: parsed.text('checkpoint-dir') } })
      return 0
    },
  },
]
