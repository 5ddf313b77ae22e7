import type { Command } from './command.ts'
import type { Flag } from './flags.ts'
import { GROUPS, usageOf } from './usage.ts'

const escape = (text: string): string => text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replace(/^([.'])/gm, '\\&$1')

const flagEntry = (flag: Flag): string => `.TP\n${flag.short === undefined ? '' : `\\fB\\-${flag.short}\\fR, `}\\fB\\-\\-${escape(flag.name)}\\fR${flag.kind === 'bool' ? '' : `=\\fI${flag.kind === 'number' ? 'int' : flag.kind === 'list' ? 'list' : 'string'}\\fR`}\n${escape(flag.help)}\n`

/** A manual page of one command (man(7) macros). */
export function manPage(command: Command, date: string): string {
  const [name = ''] = command.names
  const page = `gantry-${name.replaceAll(' ', '-')}`
  return `.TH "${page.toUpperCase()}" "1" "${date}" "Gantry" "Gantry manual"
.SH NAME
${escape(page)} \\- ${escape(command.help)}
.SH SYNOPSIS
${usageOf(command, name).split('\n').map((line) => `.B ${escape(line.trim())}\n`).join('.br\n')}.SH DESCRIPTION
${escape(command.help)}.
${command.names.length > 1 ? `.SH ALIASES\n${command.names.slice(1).map((one) => `gantry ${escape(one)}`).join(', ')}\n` : ''}${command.flags.length > 0 ? `.SH OPTIONS\n${command.flags.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map(flagEntry).join('')}` : ''}.SH SEE ALSO
.BR gantry (1)
`
}

/** The page of the client itself. */
export function mainPage(commands: readonly Command[], globals: readonly Flag[], date: string): string {
  const entry = (command: Command): string => `.TP\n\\fBgantry\\-${escape((command.names[0] ?? '').replaceAll(' ', '-'))}\\fR(1)\n${escape(command.help)}\n`
  const shown = commands.filter((command) => command.hidden !== true).toSorted((a, b) => ((a.names[0] ?? '') < (b.names[0] ?? '') ? -1 : 1))
  return `.TH "GANTRY" "1" "${date}" "Gantry" "Gantry manual"
.SH NAME
gantry \\- a container engine
.SH SYNOPSIS
.B gantry [OPTIONS] COMMAND
.SH DESCRIPTION
The client of the Gantry daemon, which runs containers and speaks the Docker Engine API. Commands come alone (\\fBgantry run\\fR) or in groups: ${Object.keys(GROUPS).map((group) => `\\fB${group}\\fR`).join(', ')}.
.SH OPTIONS
${globals.map(flagEntry).join('')}.SH COMMANDS
${shown.map(entry).join('')}.SH ENVIRONMENT
.TP
\\fBDOCKER_HOST\\fR, \\fBDOCKER_CONTEXT\\fR, \\fBDOCKER_CONFIG\\fR, \\fBDOCKER_API_VERSION\\fR, \\fBDOCKER_TLS_VERIFY\\fR, \\fBDOCKER_CERT_PATH\\fR
As Docker's own client takes them.
.TP
\\fBNO_COLOR\\fR
No colours, on a terminal either.
`
}
