import { createHttp } from '@gantry/registry'
import { EngineError } from '@gantry/std'

/** An archive somewhere else. */
export interface RemoteArchive {
  readonly url: string
  /** 0: the other side does not say. */
  readonly bytes: number
  readonly body: AsyncIterable<Uint8Array>
}

/** Asks for an archive by its URL (`fromSrc` of `POST /images/create`); `http://` where it names no protocol. A side that sends nothing for 30 s is given up. */
export async function openUrl(text: string, signal: AbortSignal | undefined): Promise<RemoteArchive> {
  const url = URL.parse(/^[a-z]+:\/\//i.test(text) ? text : `http://${text}`)
  if (url === null || !['http:', 'https:'].includes(url.protocol)) throw new EngineError('invalid', `fromSrc: expected -, or an URL of http or https, got ${JSON.stringify(text)}`)
  const http = createHttp({ verify: true, ca: [], cert: '', key: '' })
  const answer = await http.request(url, { signal }).catch((error: unknown) => {
    http[Symbol.dispose]()
    throw error
  })
  answer.once('close', () => http[Symbol.dispose]())
  if (answer.statusCode !== 200) {
    answer.destroy()
    throw new EngineError('unavailable', `${url.href}: the server answered ${answer.statusCode}`)
  }
  return { url: url.href, bytes: Number(answer.headers['content-length'] ?? 0), body: answer }
}
