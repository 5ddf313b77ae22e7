import { createHttp } from '@gantry/registry'
import { EngineError } from '@gantry/std'

/** An archive somewhere else. */
export interface RemoteArchive {
  readonly url: string
  /** 0: the other side does not say, or it is empty. */
  readonly bytes: number
  /** The other side says how large it is. */
  readonly sized: boolean
  /** Seconds since 1970, where the other side says. */
  readonly lastModified: number | undefined
  readonly contentType: string
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
  const modified = Date.parse(answer.headers['last-modified'] ?? '')
  return {
    url: url.href, bytes: Number(answer.headers['content-length'] ?? 0), sized: answer.headers['content-length'] !== undefined,
    lastModified: Number.isNaN(modified) ? undefined : Math.floor(modified / 1000), contentType: answer.headers['content-type'] ?? '', body: answer,
  }
}
