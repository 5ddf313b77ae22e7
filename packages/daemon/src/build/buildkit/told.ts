import { checkDockerfile, readDockerfile } from '@gantry/builder'
import type { Credentials, Reference } from '@gantry/registry'
import { buildPorts } from '../sources.ts'
import type { FrontendRequest } from './attributes.ts'
import { credentialsOfClient } from './client-credentials.ts'
import type { Sources } from './client-sources.ts'
import type { FrontendContext } from './frontend-context.ts'
import { during, pullStatus } from '../export/vertex.ts'
import type { StatusLog } from './status-log.ts'

/** Tells of what is built, but should not be so. */
export function warnOf(log: StatusLog, dockerfile: Sources['dockerfile'], request: FrontendRequest, ignores: (path: string) => boolean): void {
  const { source, file } = readDockerfile(dockerfile, request.buildArgs)
  const { name, bytes } = dockerfile
  for (const { rule, message, place } of checkDockerfile(source, file, { buildArgs: new Set(request.buildArgs.keys()), ignores })) {
    log.warn({ short: `${rule}: ${message} (line ${place.line})`, detail: message, filename: name, data: bytes, line: place.line })
  }
}

/** The house as the build sees it; a base that is looked for is a line of its own. */
export function portsWithVertices({ ports, session, log }: FrontendContext): ReturnType<typeof buildPorts> {
  const credentials = (reference: Reference): Promise<Credentials> => credentialsOfClient(session, reference)
  const silent = buildPorts(ports, { tell: () => undefined, credentials })
  return {
    ...silent,
    image(name, platform, options) {
      const vertex = log.open(`[internal] load metadata for ${name}`)
      return during(vertex, () => buildPorts(ports, { tell: pullStatus(vertex), credentials }).image(name, platform, options))
    },
  }
}
