import { mkdirSync } from 'node:fs'
import { asObject, EngineError, type JsonObject, readText, replaceFile } from '@gantry/std'

/** The user's `config.json`, which other clients read, too. */
export interface ConfigFile {
  readonly path: string
  /** An empty object where there is none. */
  read(): JsonObject
  write(config: JsonObject): void
}

/** Folder of the user's configuration. */
export function configDirectory(env: NodeJS.ProcessEnv): string {
  return env['DOCKER_CONFIG'] ?? `${env['HOME'] ?? '/root'}/.docker`
}

/** Opens it in a folder (`~/.docker`, or `DOCKER_CONFIG`). */
export function openConfig(directory: string): ConfigFile {
  const path = `${directory}/config.json`
  return {
    path,
    read() {
      const text = readText(path)
      if (text === undefined || text.trim() === '') return {}
      try {
        return asObject(JSON.parse(text), path)
      } catch (cause) {
        throw new EngineError('invalid', `${path}: not JSON`, { cause })
      }
    },
    write(config) {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      replaceFile(path, `${JSON.stringify(config, undefined, '\t')}\n`)
    },
  }
}
