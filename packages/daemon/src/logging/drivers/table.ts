import type { LogDriver } from './driver.ts'
import { FLUENTD } from './fluentd.ts'
import { GELF } from './gelf.ts'
import { JOURNALD } from './journald.ts'
import { SYSLOG } from './syslog.ts'

/** Drivers that send lines elsewhere, by name. Beside them, lines are kept here, so that `logs` can read them. */
export const LOG_DRIVERS: Readonly<Record<string, LogDriver>> = { fluentd: FLUENTD, gelf: GELF, journald: JOURNALD, syslog: SYSLOG }
