import { DockerfileError } from '@gantry/builder'

/** What clients show of an error: the lines of the Dockerfile that it is about. */
export function detailsOf(error: unknown): readonly { readonly type: string; readonly json: object }[] {
  if (!(error instanceof DockerfileError)) return []
  const { source, place } = error
  return [{ type: 'github.com/moby/buildkit/errdefs.Source+json', json: { info: { filename: source.name, data: Buffer.from(source.lines.join('\n')).toString('base64'), language: 'Dockerfile' }, ranges: [{ start: { line: place.line }, end: { line: place.line } }] } }]
}
