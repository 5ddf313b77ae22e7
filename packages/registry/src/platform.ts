import { type Descriptor, EngineError } from '@gantry/std'

/** What an image runs on. */
export interface Platform {
  readonly os: string
  readonly architecture: string
  /** `v7`, `v8`; empty for none. */
  readonly variant: string
}

const ALIASES: Readonly<Record<string, readonly [architecture: string, variant: string]>> = {
  x86_64: ['amd64', ''], 'x86-64': ['amd64', ''], x64: ['amd64', ''], i386: ['386', ''], ia32: ['386', ''], aarch64: ['arm64', ''], armhf: ['arm', 'v7'], armel: ['arm', 'v6'],
}

function normal(os: string, architecture: string, variant: string): Platform {
  const lower = architecture.toLowerCase()
  const [name, implied] = ALIASES[lower] ?? [lower, '']
  const kept = (variant || implied).toLowerCase().replace(/^(?=\d)/, 'v')
  // The one variant that every machine of the kind has goes without saying.
  const plain = (name === 'arm64' && (kept === 'v8' || kept === '8')) || (name === 'amd64' && kept === 'v1') ? '' : name === 'arm' && kept === '' ? 'v7' : kept
  return { os: os.toLowerCase(), architecture: name, variant: plain }
}

/** Reads `linux/arm64/v8`, `linux/amd64` or `arm64`. */
export function parsePlatform(text: string): Platform {
  const parts = text.split('/')
  if (parts.length > 3 || !parts.every((part) => /^[\w.-]+$/.test(part))) throw new EngineError('invalid', `"${text}" is an invalid platform: expected OS/ARCHITECTURE[/VARIANT]`)
  const [first = '', second, variant = ''] = parts
  if (second !== undefined) return normal(first, second, variant)
  return /^(linux|windows|darwin|freebsd)$/.test(first) ? normal(first, process.arch, '') : normal('linux', first, '')
}

/** This machine. */
export function hostPlatform(): Platform {
  return normal('linux', process.arch, '')
}

/** `linux/arm/v7` */
export function platformText({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter((part) => part !== '').join('/')
}

/** True when an image for `has` runs where `wanted` is asked for. */
export function platformFits(wanted: Platform, has: { readonly os?: string; readonly architecture?: string; readonly variant?: string }): boolean {
  const other = normal(has.os ?? 'linux', has.architecture ?? '', has.variant ?? '')
  if (other.os !== wanted.os || other.architecture !== wanted.architecture) return false
  if (other.variant === wanted.variant) return true
  // Every ARM machine runs what was made for an older one of its kind; amd64's levels go the same way.
  const level = (variant: string): number => Number(variant.slice(1)) || (wanted.architecture === 'arm64' ? 8 : 1)
  return /^(v\d+)?$/.test(other.variant) && /^(v\d+)?$/.test(wanted.variant) && level(other.variant) <= level(wanted.variant)
}

/** The manifest of an index that fits best: the nearest variant, and the first of those. Attestations (`unknown/unknown`) fit nobody. */
export function choosePlatform(manifests: readonly Descriptor[], wanted: Platform): Descriptor {
  const fitting = manifests.filter((one) => one.platform === undefined ? manifests.length === 1 : platformFits(wanted, one.platform))
  const exact = fitting.find((one) => (one.platform?.variant ?? '') === wanted.variant || normal('linux', wanted.architecture, one.platform?.variant ?? '').variant === wanted.variant)
  const newest = [...fitting].sort((a, b) => (b.platform?.variant ?? '').localeCompare(a.platform?.variant ?? ''))[0]
  const chosen = exact ?? newest
  if (chosen === undefined) {
    const there = manifests.flatMap((one) => (one.platform === undefined || one.platform.os === 'unknown' ? [] : [platformText({ variant: '', ...one.platform })]))
    throw new EngineError('not-found', `no matching manifest for ${platformText(wanted)} in the manifest list entries${there.length === 0 ? '' : ` (there are: ${[...new Set(there)].join(', ')})`}`)
  }
  return chosen
}
