import { errnoText, ProgramError } from '@gantry/linux'
import { RuntimeFailure } from './external-side.ts'
import { describeHookFailure } from './init/hooks.ts'

const ENOENT = 2

/** The error of a start or exec in the words that Docker's clients look for, with the exit code that belongs to it. */
export function describeStartFailure(error: unknown): { readonly message: string; readonly exitCode: number } | undefined {
  const hook = error instanceof ProgramError ? describeHookFailure(error) : undefined
  if (hook !== undefined) return { message: hook, exitCode: 128 }
  if (error instanceof RuntimeFailure) return { message: error.message, exitCode: error.exitCode }
  const directory = error instanceof ProgramError ? /^go to (\/.*)$/.exec(error.step?.what ?? '')?.[1] : undefined
  if (directory !== undefined && error instanceof ProgramError) return { message: `chdir to cwd ("${directory}") set in config.json failed: ${errnoText(error.errno)}`, exitCode: error.errno === ENOENT ? 127 : 126 }
  if (!(error instanceof ProgramError) || error.step?.what.startsWith('exec: ') !== true) return undefined
  const name = error.step.what.replace(/^exec: /, '')
  const plain = JSON.parse(name) as string
  if (error.errno === 2) return { message: plain.includes('/') ? `${error.step.what}: stat ${plain}: no such file or directory` : `${error.step.what}: executable file not found in $PATH`, exitCode: 127 }
  return { message: error.message, exitCode: 126 }
}
