import type { ContainerConfig, HostConfig } from '@gantry/api'
import type { EndpointRequest } from '@gantry/libnetwork'
import { asObject, asString, EngineError, type JsonObject } from '@gantry/std'
import { decodeConfig } from './decode-config.ts'
import { decodeHostConfig } from './decode-host-config.ts'
import { decodeEndpoints } from './endpoints.ts'
import { checkUnsupportedFields } from './validate.ts'

/** The body of `POST /containers/create`. */
export function decodeCreate(body: JsonObject): { readonly config: ContainerConfig; readonly hostConfig: HostConfig; readonly endpoints: readonly EndpointRequest[]; readonly mac: string } {
  if (Object.keys(body).length === 0) throw new EngineError('invalid', 'invalid JSON: got EOF while reading request body')
  checkUnsupportedFields(body)
  return { config: decodeConfig(body), hostConfig: decodeHostConfig(asObject(body['HostConfig'], 'HostConfig')), endpoints: decodeEndpoints(body), mac: asString(body['MacAddress'], 'MacAddress') }
}
