import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { asBoolean, asString, collect, EngineError, isEngineError, messageOf } from '@gantry/std'
import { openPluginSocket, PLUGIN_SOCKETS, type PluginCall } from '../plugins/socket.ts'

/** Longest body that plugins are shown, bytes; a longer one is refused: what nobody has seen is not done. */
const BODY_LIMIT = 1 << 20

/** Asks authorization plugins (Docker's `AuthZPlugin`) about each request and each answer, one after another; all have to agree. */
export interface Authorization {
  /** Gives the body that was judged; undefined for one that is not JSON, which flows by. Refusals are errors. */
  judge(message: IncomingMessage): Promise<Buffer | undefined>
  /** Holds an answer back until it has been judged. A stream cannot be: its head has gone by then. */
  hold(message: IncomingMessage, response: ServerResponse, body: Buffer | undefined, refuse: (error: unknown) => void): void
  readonly active: boolean
}

const plain = (headers: IncomingHttpHeaders | OutgoingHttpHeaders): Readonly<Record<string, string>> => Object.fromEntries(Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase()), Array.isArray(value) ? value.join(',') : String(value)]])))

/** Who asks: the name in a certificate that was verified. */
function userOf(message: IncomingMessage): object {
  const socket = message.socket as TLSSocket
  const certificate = socket.encrypted === true && socket.authorized ? socket.getPeerCertificate() : undefined
  const { CN } = certificate?.subject ?? {}
  return CN === undefined ? { User: '', UserAuthNMethod: '' } : { User: String(CN), UserAuthNMethod: 'TLS' }
}

const aboutRequest = (message: IncomingMessage, body: Buffer | undefined): object => ({ ...userOf(message), RequestMethod: message.method ?? '', RequestUri: message.url ?? '', RequestHeaders: plain(message.headers), ...(body !== undefined && body.length > 0 && { RequestBody: body.toString('base64') }) })

/** Makes it; `names` are the plugins of the moment. */
export function createAuthorization(names: () => readonly string[], sockets: string = PLUGIN_SOCKETS): Authorization {
  const open = new Map<string, Promise<PluginCall>>()
  const callOf = (name: string): Promise<PluginCall> => {
    const known = open.get(name) ?? openPluginSocket(name, 'authz', 'authorization', sockets)
    open.set(name, known)
    known.catch(() => open.delete(name))
    return known
  }
  const ask = async (method: string, body: object): Promise<void> => {
    for (const name of names()) {
      let answer
      try {
        answer = await (await callOf(name))(method, body)
      } catch (cause) {
        throw new EngineError('internal', `plugin ${name} failed with error: ${messageOf(cause)}`, { cause })
      }
      if (!asBoolean(answer['Allow'], 'Allow')) throw new EngineError('forbidden', `authorization denied by plugin ${name}: ${asString(answer['Msg'], 'Msg')}`)
    }
  }
  return {
    get active() {
      return names().length > 0
    },
    async judge(message) {
      const isJson = /^application\/json\b/i.test(message.headers['content-type'] ?? '')
      const body = isJson ? await collect(message.iterator({ destroyOnReturn: false }), BODY_LIMIT).catch((cause: unknown) => {
        if (!isEngineError(cause)) throw cause
        throw new EngineError('forbidden', `a request of more than ${BODY_LIMIT} bytes is not shown to authorization plugins, and not carried out`, { cause })
      }) : undefined
      await ask('AuthZPlugin.AuthZReq', aboutRequest(message, body))
      return body
    },
    hold(message, response, body, refuse) {
      const [writeHead, write, end] = [response.writeHead.bind(response), response.write.bind(response), response.end.bind(response)]
      let head: readonly [status: number, headers: OutgoingHttpHeaders] | undefined
      const letGo = (): void => {
        Object.assign(response, { writeHead, write, end })
        if (head !== undefined) writeHead(...head)
      }
      Object.assign(response, {
        writeHead: (status: number, headers: OutgoingHttpHeaders = {}) => {
          head = [status, headers]
          return response
        },
        flushHeaders: () => {
          letGo()
          Object.getPrototypeOf(response).flushHeaders.call(response)
        },
        write: (...words: Parameters<typeof write>) => {
          letGo()
          return response.write(...words)
        },
        end: (content?: string | Buffer) => {
          const text = content === undefined ? Buffer.alloc(0) : Buffer.from(content)
          void ask('AuthZPlugin.AuthZRes', { ...aboutRequest(message, body), ResponseStatusCode: head?.[0] ?? 200, ResponseHeaders: plain({ ...response.getHeaders(), ...head?.[1] }), ...(text.length > 0 && text.length <= BODY_LIMIT && { ResponseBody: text.toString('base64') }) }).then(
            () => {
              letGo()
              response.end(content)
            },
            (error: unknown) => {
              Object.assign(response, { writeHead, write, end })
              refuse(error)
            },
          )
          return response
        },
      })
    },
  }
}
