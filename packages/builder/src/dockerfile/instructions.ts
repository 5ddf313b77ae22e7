import type { Heredoc, LogicalLine } from './lines.ts'

/** A program: its words as they are (exec form), or one text for a shell. */
export interface Command {
  readonly exec: boolean
  readonly words: readonly string[]
}

/** A flag's values as they are written; `--flag` alone is `true`. */
export type Flags = ReadonlyMap<string, readonly string[]>

interface Common {
  readonly line: LogicalLine
}

/** One step of a stage, checked for its form; variables are not replaced yet. */
export type Instruction =
  | (Common & { readonly kind: 'ARG'; readonly pairs: readonly { readonly name: string; readonly value: string | undefined }[] })
  | (Common & { readonly kind: 'ENV' | 'LABEL'; readonly pairs: readonly { readonly name: string; readonly value: string }[] })
  | (Common & { readonly kind: 'RUN'; readonly flags: Flags; readonly command: Command; readonly heredocs: readonly Heredoc[] })
  | (Common & { readonly kind: 'CMD' | 'ENTRYPOINT'; readonly command: Command })
  | (Common & { readonly kind: 'COPY' | 'ADD'; readonly flags: Flags; readonly sources: readonly string[]; readonly target: string; readonly heredocs: readonly Heredoc[] })
  | (Common & { readonly kind: 'EXPOSE' | 'VOLUME'; readonly words: readonly string[] })
  | (Common & { readonly kind: 'WORKDIR'; readonly text: string })
  | (Common & { readonly kind: 'USER' | 'STOPSIGNAL' | 'MAINTAINER'; readonly text: string })
  | (Common & { readonly kind: 'SHELL'; readonly words: readonly string[] })
  | (Common & { readonly kind: 'HEALTHCHECK'; readonly flags: Flags; readonly command: Command | undefined })
  | (Common & { readonly kind: 'ONBUILD'; readonly text: string })

/** A `FROM` with all that follows it. */
export interface Stage {
  readonly index: number
  /** Its name in small letters; empty where it has none. */
  readonly name: string
  /** What it stands on, variables not replaced. */
  readonly base: string
  readonly platform: string
  readonly line: LogicalLine
  readonly instructions: readonly Instruction[]
}

/** A Dockerfile that keeps to the grammar. */
export interface Dockerfile {
  readonly syntax: string
  readonly escape: string
  readonly check: string
  /** `ARG`s before the first stage. */
  readonly args: readonly (Instruction & { readonly kind: 'ARG' })[]
  readonly stages: readonly Stage[]
}
