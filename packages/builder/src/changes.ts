import { EngineError, type ImageRunConfig } from '@gantry/std'
import { readTrigger } from './dockerfile/parse.ts'
import { DockerfileError } from './dockerfile/source.ts'
import { expanderOf, valueIn } from './state.ts'
import { applyMetadata, workdirOf } from './steps/metadata.ts'

const MAX_CHANGES = 1000

/**
 * Applies instructions of a Dockerfile to a configuration (`changes` of ImageCommit and ImageCreate): those that make no layer. Variables
 * are those of the environment.
 */
export function applyChanges(config: ImageRunConfig, changes: readonly string[]): ImageRunConfig {
  const lines = changes.flatMap((change) => change.split('\n')).map((line) => line.trim()).filter((line) => line !== '')
  if (lines.length > MAX_CHANGES) throw new EngineError('invalid', `${lines.length} changes: expected at most ${MAX_CHANGES}`)
  let result = config
  let commandSet = false
  for (const line of lines) {
    const { source, instruction } = readTrigger(line, '\\', 'change')
    const expand = expanderOf(source, '\\', instruction, (name) => valueIn(result.Env, name))
    switch (instruction.kind) {
      case 'RUN':
      case 'COPY':
      case 'ADD':
      case 'ARG':
      case 'SHELL':
      case 'MAINTAINER':
        throw new DockerfileError(source, instruction.line.place(-1), `${instruction.kind} is not a valid change command: expected one of CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR`, { parsing: false })
      case 'WORKDIR':
        result = { ...result, WorkingDir: workdirOf(result, expand.word(instruction.text)) }
        break
      default:
        result = applyMetadata(result, instruction, expand, commandSet).config
        commandSet ||= instruction.kind === 'CMD'
    }
  }
  return result
}
