import type { RemoteCache } from '@gantry/builder'
import type { Tell } from '../images/progress.ts'
import type { BuildRequest } from '../jobs/build.ts'
import { credentialsFor } from './credentials.ts'
import { importCaches } from './export/cache-exchange.ts'
import type { ExportContext, OutputRequest } from './export/context.ts'
import type { OpenVertex } from './export/vertex.ts'
import type { BuildHandlerPorts } from './ports.ts'

/** What outputs and caches of the classic door work with. */
export function exchangeOf(ports: BuildHandlerPorts, credentials: BuildRequest['credentials'], tell: Tell, signal: AbortSignal): ExportContext {
  return { ports, credentials: async (reference) => credentialsFor(reference, credentials), signal, log: tellingLog(tell), content: undefined }
}

/** What other builds came to; an image that is here goes by its name. */
export function remoteCacheOf(context: ExportContext, wanted: readonly (string | OutputRequest)[]): Promise<RemoteCache | undefined> {
  return importCaches(context, wanted.map((one) => (typeof one === 'string' ? { Type: 'image', Attrs: { ref: one } } : one)))
}

/** Lines of work as text. */
function tellingLog(tell: Tell): ExportContext['log'] {
  const say = (text: string): void => tell({ stream: `${text}\n` })
  return {
    open(name): OpenVertex {
      return {
        digest: '', log: (_, chunk) => say(Buffer.from(chunk).toString().trimEnd()),
        status: (text, progress) => (progress?.done === true ? say(text) : undefined),
        done: (result) => (result?.error === undefined || result.error === '' ? undefined : say(`${name}: ${result.error}`)),
      }
    },
  }
}
