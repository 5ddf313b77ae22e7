import { spawn } from 'node:child_process'
import type { OciHook } from '@gantry/libcontainer'
import { EngineError } from '@gantry/std'

/** Runs hooks one after another, the container's state on their standard input; the first that fails ends it (config.md, POSIX-platform Hooks). */
async function runHooks(name: string, hooks: readonly OciHook[], state: unknown): Promise<void> {
  for (const [index, hook] of hooks.entries()) {
    const [first = hook.path, ...args] = hook.args
    const child = spawn(hook.path, args, { argv0: first, env: Object.fromEntries(hook.env.map((entry) => [entry.split('=', 1)[0] ?? '', entry.slice(entry.indexOf('=') + 1)])), stdio: ['pipe', 'ignore', 'pipe'], ...(hook.timeoutSeconds !== undefined && { timeout: hook.timeoutSeconds * 1000, killSignal: 'SIGKILL' as const }) })
    let words = ''
    child.stderr.on('data', (chunk: Buffer) => {
      words = (words + chunk.toString()).slice(-4096)
    })
    // A hook need not read its input.
    child.stdin.on('error', () => undefined)
    child.stdin.end(JSON.stringify(state))
    await new Promise<void>((resolve, reject) => {
      child.once('error', (cause) => reject(new EngineError('internal', `error running ${name} hook #${index}: ${cause.message}`, { cause })))
      child.once('close', (code, signal) => (code === 0 ? resolve() : reject(new EngineError('internal', `error running ${name} hook #${index}: ${signal === null ? `exit status ${code}` : `signal ${signal}`}, stderr: ${words.trim()}`))))
    })
  }
}

/** Hooks after the fact: one that fails is told of, and the others run (runtime.md, Lifecycle, steps 10 and 13). */
export async function runLenient(name: string, hooks: readonly OciHook[], state: unknown, warn: (message: string) => void): Promise<void> {
  for (const hook of hooks) {
    try {
      await runHooks(name, [hook], state)
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
      warn(error.message)
    }
  }
}
