import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EngineError } from '@gantry/std'
import { expandWord, expandWords } from './expand.ts'
import type { Dockerfile } from './instructions.ts'
import { parseDockerfile } from './parse.ts'
import { sourceOf } from './source.ts'

const parse = (text: string): Dockerfile => parseDockerfile(sourceOf('Dockerfile', Buffer.from(text)))

/** A tree without what only errors need. */
function plain(file: Dockerfile): unknown {
  return JSON.parse(JSON.stringify(file, (key, value: unknown) => (key === 'line' ? undefined : value instanceof Map ? Object.fromEntries(value) : value)))
}

const GOLDEN = `# syntax=docker/dockerfile:1
# escape=\\
ARG BASE=busybox
FROM --platform=linux/amd64 \${BASE} AS Build
ARG A B="two words" C
ENV X=1 Y="a b" Z=\\$x
ENV old style value
LABEL a=b "c d"="e"
RUN --mount=type=cache,target=/c --network=none echo one \\
  # a comment
  two
RUN ["a", "b c"]
RUN cat <<EOF >/x && cat <<-"END" >/y
first $X
EOF
\tsecond
\tEND
COPY --from=0 --chown=1:2 --link a b /d/
ADD ["a b", "/x"]
COPY <<one /one
1
one
EXPOSE 80 81/udp
VOLUME ["/a", "/b c"]
USER me
WORKDIR /w
STOPSIGNAL 9
SHELL ["/bin/sh", "-c"]
CMD top -b
ENTRYPOINT ["x"]
HEALTHCHECK --interval=1s CMD ["true"]
HEALTHCHECK NONE
ONBUILD RUN echo x
MAINTAINER me
`

describe('parseDockerfile()', () => {
  it('golden: all instructions', () => {
    assert.deepEqual(plain(parse(GOLDEN)), {
      syntax: 'docker/dockerfile:1', escape: '\\', check: '',
      args: [{ kind: 'ARG', pairs: [{ name: 'BASE', value: 'busybox' }] }],
      stages: [{
        index: 0, name: 'build', base: '${BASE}', platform: 'linux/amd64',
        instructions: [
          { kind: 'ARG', pairs: [{ name: 'A' }, { name: 'B', value: '"two words"' }, { name: 'C' }] },
          { kind: 'ENV', pairs: [{ name: 'X', value: '1' }, { name: 'Y', value: '"a b"' }, { name: 'Z', value: '\\$x' }] },
          { kind: 'ENV', pairs: [{ name: 'old', value: 'style value' }] },
          { kind: 'LABEL', pairs: [{ name: 'a', value: 'b' }, { name: '"c d"', value: '"e"' }] },
          { kind: 'RUN', flags: { mount: ['type=cache,target=/c'], network: ['none'] }, command: { exec: false, words: ['echo one   two'] }, heredocs: [] },
          { kind: 'RUN', flags: {}, command: { exec: true, words: ['a', 'b c'] }, heredocs: [] },
          { kind: 'RUN', flags: {}, command: { exec: false, words: ['cat <<EOF >/x && cat <<-"END" >/y'] }, heredocs: [{ name: 'EOF', chomp: false, expand: true, content: 'first $X\n' }, { name: 'END', chomp: true, expand: false, content: 'second\n' }] },
          { kind: 'COPY', flags: { from: ['0'], chown: ['1:2'], link: ['true'] }, sources: ['a', 'b'], target: '/d/', heredocs: [] },
          { kind: 'ADD', flags: {}, sources: ['a b'], target: '/x', heredocs: [] },
          { kind: 'COPY', flags: {}, sources: ['<<one'], target: '/one', heredocs: [{ name: 'one', chomp: false, expand: true, content: '1\n' }] },
          { kind: 'EXPOSE', words: ['80', '81/udp'] },
          { kind: 'VOLUME', words: ['/a', '/b c'] },
          { kind: 'USER', text: 'me' },
          { kind: 'WORKDIR', text: '/w' },
          { kind: 'STOPSIGNAL', text: '9' },
          { kind: 'SHELL', words: ['/bin/sh', '-c'] },
          { kind: 'CMD', command: { exec: false, words: ['top -b'] } },
          { kind: 'ENTRYPOINT', command: { exec: true, words: ['x'] } },
          { kind: 'HEALTHCHECK', flags: { interval: ['1s'] }, command: { exec: true, words: ['true'] } },
          { kind: 'HEALTHCHECK', flags: {} },
          { kind: 'ONBUILD', text: 'RUN echo x' },
          { kind: 'MAINTAINER', text: 'me' },
        ],
      }],
    })
  })
  const said = (text: string): string => {
    try {
      parse(text)
    } catch (error) {
      return error instanceof Error ? error.message : ''
    }
    return ''
  }
  it('errors say file, line and what is meant, with a caret below it', () => {
    assert.equal(said('FROM a\n\nRUN x \\\n  y\n\tCOPPY a b\n'), 'dockerfile parse error on line 5: unknown instruction: COPPY (did you mean COPY?)\nDockerfile:5\n 3 | RUN x \\\n 4 |   y\n 5 | \tCOPPY a b\n   | \t^^^^^')
    assert.match(said('FROM a\nCOPY --chwon=1 a b\n'), /line 2: unknown flag: --chwon \(did you mean --chown\?\)[\s\S]*\n {3}\| {6}\^{9}$/)
    const wrong: readonly (readonly [text: string, message: RegExp])[] = [
      ['FROM\n', /FROM requires either one or three arguments/], ['FROM a AS 1x\n', /invalid name for build stage: "1x"/], ['FROM a\nENV x\n', /ENV must have two arguments/], ['FROM a\nENV a=1 b\n', /can't find = in "b"/],
      ['FROM a\nCOPY x\n', /requires at least two arguments, but only one was provided/], ['FROM a\nSHELL sh\n', /requires the arguments to be in JSON form/], ['FROM a\nRUN <<EOF\nx\n', /unterminated heredoc/], ['FROM a\nHEALTHCHECK SOMETIMES x\n', /Unknown type "SOMETIMES" in HEALTHCHECK/],
      ['FROM a\nONBUILD FROM b\n', /FROM isn't allowed as an ONBUILD trigger/], ['FROM a\nONBUILD ONBUILD RUN x\n', /Chaining ONBUILD/], ['LABEL a=b\n', /no build stage in current context/], ['# escape=x\nFROM a\n', /invalid ESCAPE 'x'/], ['# escape=\\\n# escape=`\nFROM a\n', /only one escape parser directive/],
      ['FROM a\nVOLUME [""]\n', /can not be an empty string/], ['FROM a\nRUN\n', /RUN requires at least one argument/], ['FROM a\nCMD [1]\n', /only string type is allowed in JSON format arrays/], ['ARG A=1\n', /no build stage/], ['# only\n', /no instructions/], ['', /cannot be empty/],
    ]
    for (const [text, message] of wrong) assert.match(said(text), message)
  })
  it('survives what is no Dockerfile (fuzz, seeded)', () => {
    let seed = 20261122
    const random = (below: number): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648
      return seed % below
    }
    const words = ['FROM', 'RUN', 'COPY', '<<EOF', 'EOF', '\\', '\n', '`', '"', "'", '--from=', '[', '"a"', ']', '${', '}', '$', ' ', '#', 'escape=`', 'ONBUILD', 'ENV', '=', 'a', '\t', '\u0000', 'é', '--', 'HEALTHCHECK', 'NONE', '\r\n']
    for (let round = 0; round < 3000; round++) {
      const text = `FROM a\n${Array.from({ length: random(30) }, () => words[random(words.length)]).join(random(2) === 0 ? ' ' : '')}`
      try {
        parse(text)
      } catch (error) {
        assert.ok(error instanceof EngineError && error.kind === 'invalid', `${JSON.stringify(text)}: ${String(error)}`)
      }
    }
  })
})

it('expandWord() knows the forms of variables', () => {
  const values: Readonly<Record<string, string>> = { A: 'a', EMPTY: '', P: 'x/y/z.tar.gz' }
  const expand = (text: string): string => expandWord(text, '\\', (name) => values[name])
  const good: readonly (readonly [text: string, result: string])[] = [
    ['$A', 'a'], ['${A}b', 'ab'], ['$Ab', ''], ['\\$A', '$A'], ["'$A'", '$A'], ['"$A \'q\'"', "a 'q'"], ['$', '$'], ['a$', 'a$'], ['${NONE:-${A}x}', 'ax'], ['${EMPTY:-d}', 'd'], ['${EMPTY-d}', ''], ['${A:+yes}', 'yes'], ['${NONE+yes}', ''],
    ['${P#*/}', 'y/z.tar.gz'], ['${P##*/}', 'z.tar.gz'], ['${P%.*}', 'x/y/z.tar'], ['${P%%.*}', 'x/y/z'], ['${P/y/Y}', 'x/Y/z.tar.gz'], ['${P//z/Z}', 'x/y/Z.tar.gZ'], ['${P/./-}', 'x/y/z-tar.gz'], ['"a\\"b"', 'a"b'], ['"a\\nb"', 'a\\nb'],
  ]
  for (const [text, result] of good) assert.equal(expand(text), result, text)
  const wrong: readonly (readonly [text: string, message: RegExp])[] = [['${A', /missing '}'/], ['${}', /bad substitution/], ['${NONE:?is needed}', /NONE: is needed/], ['${A:!x}', /unsupported modifier/], ['"a', /double-quote/], ["'a", /single-quote/]]
  for (const [text, message] of wrong) assert.throws(() => expand(text), message, text)
  assert.deepEqual(expandWords('$A "b c" d${EMPTY} $L', '\\', (name) => (name === 'L' ? 'l m' : values[name])), ['a', 'b c', 'd', 'l', 'm'])
  assert.equal(expandWord('a "q" \\$A $A \\n', '\\', (name) => values[name], 'content'), 'a "q" $A a \\n')
})
