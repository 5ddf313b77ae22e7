import assert from 'node:assert/strict'
import { it } from 'node:test'
import { checkDockerfile, warningText } from './check.ts'
import { parseDockerfile } from './parse.ts'
import { sourceOf } from './source.ts'

const rulesOf = (text: string): readonly string[] => {
  const source = sourceOf('Dockerfile', Buffer.from(text))
  return checkDockerfile(source, parseDockerfile(source), { buildArgs: new Set(), ignores: (path) => path === 'ignored' }).map((one) => `${one.place.line} ${one.rule}`)
}

it('checkDockerfile() finds what builds but should not be so, and nothing in what is well', () => {
  assert.deepEqual(rulesOf('ARG TAG=1\nFROM busybox:${TAG} AS one\nARG A=1\nENV B=$A C="x y"\nWORKDIR /w\nRUN echo $NOT_OURS\nCOPY --from=one /a /b\nHEALTHCHECK CMD x\nCMD ["a"]\n'), [])
  for (const [text, rule] of [
    ['FROM a AS One\n', '1 StageNameCasing'], ['FROM a as one\n', '1 FromAsCasing'], ['FROM a\nrun x\nRUN y\n', '2 ConsistentInstructionCasing'], ['FROM a AS x\nFROM b AS x\n', '2 DuplicateStageName'], ['FROM a AS scratch\n', '1 ReservedStageName'],
    ['FROM a\nCMD x\n', '2 JSONArgsRecommended'], ['FROM a\nMAINTAINER me\n', '2 MaintainerDeprecated'], ['FROM a\nWORKDIR w\n', '2 WorkdirRelativePath'], ['FROM a\nENV A b\n', '2 LegacyKeyValueFormat'], ['FROM a\nCMD ["x"]\nCMD ["y"]\n', '2 MultipleInstructionsDisallowed'],
    ['FROM a\nARG DB_PASSWORD\n', '2 SecretsUsedInArgOrEnv'], ['FROM scratch\nCOPY $nowhere /x\n', '2 UndefinedVar'], ['FROM a:$TAG\n', '1 UndefinedArgInFrom'], ['FROM --platform=$TARGETPLATFORM a\n', '1 RedundantTargetPlatform'], ['FROM a\nCOPY ignored /x\n', '2 CopyIgnoredFile'],
  ] as const) assert.deepEqual(rulesOf(text), [rule], text)
  assert.deepEqual(rulesOf('# check=skip=JSONArgsRecommended\nFROM a\nCMD x\n'), [])
  const source = sourceOf('Dockerfile', Buffer.from('FROM a\nCMD x\n'))
  assert.equal(warningText(source, checkDockerfile(source, parseDockerfile(source), { buildArgs: new Set(), ignores: () => false })), 'WARNING: JSONArgsRecommended\nJSON arguments recommended for CMD to prevent unintended behavior related to OS signals\nDockerfile:2\n 1 | FROM a\n 2 | CMD x\n   | ^^^\n\nCheck complete, 1 warning has been found!\n')
})
