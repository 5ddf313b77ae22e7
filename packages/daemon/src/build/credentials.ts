import { ANONYMOUS, type Credentials, DEFAULT_DOMAIN, type Reference } from '@gantry/registry'

/** Those that a client sent along, by the registry's name. */
export function credentialsFor(reference: Reference, all: ReadonlyMap<string, Credentials>): Credentials {
  const names = reference.domain === DEFAULT_DOMAIN ? [DEFAULT_DOMAIN, 'index.docker.io', 'https://index.docker.io/v1/', 'registry-1.docker.io'] : [reference.domain, `https://${reference.domain}`, `http://${reference.domain}`, `https://${reference.domain}/v1/`]
  return names.map((name) => all.get(name)).find((one) => one !== undefined) ?? ANONYMOUS
}
