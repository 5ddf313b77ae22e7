import type { ContainerConfig, HealthConfig } from '@gantry/api'
import { asBoolean, asInteger, asObject, asString, asStringMap, asStrings, EngineError, type JsonObject } from '@gantry/std'

const emptyMap = (value: unknown, field: string): Readonly<Record<string, Record<string, never>>> => Object.fromEntries(Object.keys(asObject(value, field)).map((key) => [key, {}]))

function stringsOrNull(value: unknown, field: string): readonly string[] | null {
  return value === undefined || value === null ? null : asStrings(value, field)
}

/** Reads the Config part of a create request (Engine API, ContainerConfig). Unknown fields are left out, as Docker does. */
export function decodeConfig(body: JsonObject): ContainerConfig {
  const ports = emptyMap(body['ExposedPorts'], 'ExposedPorts')
  const stopTimeout = body['StopTimeout'] === undefined || body['StopTimeout'] === null ? undefined : asInteger(body['StopTimeout'], 'StopTimeout')
  const stopSignal = asString(body['StopSignal'], 'StopSignal')
  const health = body['Healthcheck'] === undefined || body['Healthcheck'] === null ? undefined : (Object.fromEntries(Object.entries(asObject(body['Healthcheck'], 'Healthcheck')).filter(([, value]) => value !== null)) as HealthConfig)
  const shell = stringsOrNull(body['Shell'], 'Shell')
  for (const entry of asStrings(body['Env'], 'Env')) if (entry === '' || entry.startsWith('=')) throw new EngineError('invalid', `invalid environment variable: ${entry}`)
  return {
    Hostname: asString(body['Hostname'], 'Hostname'),
    Domainname: asString(body['Domainname'], 'Domainname'),
    User: asString(body['User'], 'User'),
    AttachStdin: asBoolean(body['AttachStdin'], 'AttachStdin'),
    AttachStdout: asBoolean(body['AttachStdout'], 'AttachStdout'),
    AttachStderr: asBoolean(body['AttachStderr'], 'AttachStderr'),
    ...(Object.keys(ports).length > 0 && { ExposedPorts: ports }),
    Tty: asBoolean(body['Tty'], 'Tty'),
    OpenStdin: asBoolean(body['OpenStdin'], 'OpenStdin'),
    StdinOnce: asBoolean(body['StdinOnce'], 'StdinOnce'),
    Env: asStrings(body['Env'], 'Env'),
    Cmd: stringsOrNull(body['Cmd'], 'Cmd'),
    ...(health && { Healthcheck: health }),
    Image: asString(body['Image'], 'Image'),
    Volumes: body['Volumes'] === undefined || body['Volumes'] === null ? null : emptyMap(body['Volumes'], 'Volumes'),
    WorkingDir: asString(body['WorkingDir'], 'WorkingDir'),
    Entrypoint: stringsOrNull(body['Entrypoint'], 'Entrypoint'),
    OnBuild: stringsOrNull(body['OnBuild'], 'OnBuild'),
    Labels: asStringMap(body['Labels'], 'Labels'),
    ...(stopSignal !== '' && { StopSignal: stopSignal }),
    ...(stopTimeout !== undefined && { StopTimeout: stopTimeout }),
    ...(shell && { Shell: shell }),
  }
}
