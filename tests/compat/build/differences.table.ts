/** What may be different, and why. */
export interface JustifiedDifference {
  /** `buildkit`, `classic`. */
  readonly by: RegExp
  readonly case: RegExp
  /** `config FIELD`, `file PATH`, `failed`. */
  readonly what: RegExp
  readonly why: string
}

export const JUSTIFIED: readonly JustifiedDifference[] = [
  { by: /classic/, case: /^from alone$/, what: /config Env/, why: 'the classic builder gives the base itself, BuildKit an image with a PATH as any other: we do as BuildKit' },
  { by: /classic/, case: /^scratch and a |^files of an image$|a whole stage$|from an image by name$|an archive for a new image$|a stage from scratch for files alone$/, what: /config WorkingDir/, why: 'BuildKit says that an image from scratch works in /, the classic builder says nothing: both mean the same' },
  { by: /buildkit/, case: /^WORKDIR$/, what: /config WorkingDir/, why: 'BuildKit keeps /a/../d as it is written, the classic builder makes /d of it, as we do' },
  { by: /buildkit/, case: /^--chown of nobody that is there$/, what: /failed/, why: 'BuildKit takes a user that is not there for root without a word; the classic builder and we refuse it' },
  { by: /buildkit/, case: /^several files onto one$/, what: /failed/, why: 'BuildKit lets the last file overwrite the others; the classic builder and we refuse it' },
  { by: /classic/, case: /^a stage on a stage has its arguments$/, what: /config Env|file ab/, why: 'arguments of a stage are those of the stages on it with BuildKit and us; with the classic builder they are gone' },
  { by: /classic/, case: /: (?:a pattern that matches nothing|a class of letters)$/, what: /failed/, why: 'a COPY whose only source is a pattern copies nothing with BuildKit and us where nothing matches; the classic builder refuses it' },
  { by: /classic/, case: /: (?:owners for what is copied, by variables|the last word counts|variables in all places)$/, what: /file (?:own|a|b|work)$/, why: 'a WORKDIR that is made belongs to the USER with BuildKit and us; with the classic builder to root' },
  { by: /./, case: /: an archive with an owner$/, what: /file a/, why: 'directories that an archive does not mention are root’s with BuildKit, whatever --chown says; the classic builder does not heed it for archives' },
  { by: /buildkit/, case: /: --link with an owner and a mode$/, what: /file (?:l|real)/, why: 'BuildKit’s reference says that --link follows no links of what is below; dockerd 28, whose store cannot merge layers, does all the same' },
  { by: /classic/, case: /: scratch and nothing else$/, what: /failed/, why: 'an image of nothing is one with BuildKit and us' },
  { by: /classic/, case: /it cannot be so: (?:CMD|ENTRYPOINT)$/, what: /config/, why: 'a command of nothing is the shell with nothing with BuildKit and us' },
  { by: /./, case: /: directories through links below the target$/, what: /./, why: 'a directory that meets a link to one is an error with BuildKit and takes its place with the classic builder, which breaks images whose /lib is a link: we follow it' },
  { by: /classic/, case: /: a (?:file where a directory is|directory where a file is)$/, what: /failed/, why: 'the classic builder puts the file into the directory, or the directory in the file’s place; BuildKit and we refuse' },
  { by: /buildkit/, case: /it cannot be so: RUN$/, what: /failed/, why: 'BuildKit runs a shell with nothing to do; the classic builder and we say what is missing' },
  { by: /buildkit/, case: /: variables in all places$/, what: /config WorkingDir/, why: 'BuildKit keeps the slash at the end, the classic builder and we do not' },
  { by: /classic/, case: /: stop signals, shells and health/, what: /config Healthcheck/, why: 'HEALTHCHECK NONE keeps the inherited number of retries with the classic builder, which means nothing' },
  { by: /buildkit/, case: /^--parents$/, what: /failed/, why: 'the grammar in dockerd 28 does not have --parents, which newer ones have' },
]
