import type { ClientSession } from '@gantry/buildkit'
import { ANONYMOUS, type Credentials, DEFAULT_DOMAIN, type Reference, REGISTRY_OF_DEFAULT } from '@gantry/registry'
import { EngineError } from '@gantry/std'

const CREDENTIALS = '/moby.filesync.v1.Auth/Credentials'
const SECRET = '/moby.buildkit.secrets.v1.Secrets/GetSecret'

/** Who the client is to a registry; it knows the default one by the host that serves it. */
export async function credentialsOfClient(session: ClientSession, { domain }: Reference): Promise<Credentials> {
  if (!session.offers(CREDENTIALS)) return ANONYMOUS
  const { Username, Secret } = await session.ask<{ readonly Username: string; readonly Secret: string }>(CREDENTIALS, ['moby.filesync.v1.CredentialsRequest', { Host: domain === DEFAULT_DOMAIN ? REGISTRY_OF_DEFAULT : domain }], 'moby.filesync.v1.CredentialsResponse')
  return Username === '' ? { ...ANONYMOUS, identityToken: Secret } : { ...ANONYMOUS, username: Username, password: Secret }
}

/** A secret that the client has; undefined: it has none of that name. */
export async function secretOfClient(session: ClientSession, id: string): Promise<Buffer | undefined> {
  if (!session.offers(SECRET)) return undefined
  try {
    return Buffer.from((await session.ask<{ readonly data: Uint8Array }>(SECRET, ['moby.buildkit.secrets.v1.GetSecretRequest', { ID: id }], 'moby.buildkit.secrets.v1.GetSecretResponse')).data)
  } catch (error) {
    if (error instanceof EngineError && error.kind === 'not-found') return undefined
    throw error
  }
}
