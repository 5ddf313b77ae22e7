import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { hasAppArmor } from '@gantry/libcontainer'
import { EngineError, messageOf, readText } from '@gantry/std'

/** The profile that containers get when they name none. */
export const DEFAULT_APPARMOR = 'gantry-default'
const PROFILES = '/sys/kernel/security/apparmor/profiles'
const LOAD_MS = 20_000

/**
 * What a container may do in the eyes of AppArmor (apparmor.d(5)): nearly everything that its namespaces and capabilities leave, but
 * no mounts, nothing that changes the kernel through procfs or sysfs, and no signals or traces across its border.
 */
function profileText(): string {
  const abi = existsSync('/etc/apparmor.d/abi/3.0') ? 'abi <abi/3.0>,\n' : ''
  return `${abi}
profile ${DEFAULT_APPARMOR} flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  deny network alg,
  umount,
  deny mount,
  signal receive peer=unconfined,
  signal (send, receive) peer=${DEFAULT_APPARMOR},
  ptrace (trace, read, tracedby, readby) peer=${DEFAULT_APPARMOR},

  deny /proc/{kcore,sysrq-trigger} rwklx,
  deny /proc/{acpi,asound,bus,driver,fs,irq,scsi,tty}/** wklx,
  deny /proc/sys/{abi,crypto,debug,dev,fs,user,vm}/** wklx,
  deny /proc/sys/kernel/[a-ln-rt-z]** wklx,
  deny /proc/sys/kernel/{mo,my,sc,se[^m],sg,so,st,sy}** wklx,
  deny /sys/{block,bus,class,dev,devices,firmware,hypervisor,kernel,module,power}/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
`
}

function load(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = execFile('apparmor_parser', ['--skip-cache', '--replace', '--quiet'], { timeout: LOAD_MS }, (error, _, words) => {
      if (error === null) resolve()
      else reject(new EngineError('internal', `apparmor_parser: ${words.trim() || messageOf(error)}`, { cause: error }))
    })
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(text)
  })
}

/** Makes sure that the default profile is there. Gives why containers run without one: undefined where they have it. */
export async function prepareAppArmor(): Promise<{ readonly enabled: boolean; readonly problem: string | undefined }> {
  if (!hasAppArmor() || !existsSync(PROFILES)) return { enabled: false, problem: undefined }
  if (new RegExp(`^${DEFAULT_APPARMOR} `, 'm').test(readText(PROFILES) ?? '')) return { enabled: true, problem: undefined }
  try {
    await load(profileText())
    return { enabled: true, problem: undefined }
  } catch (error) {
    return { enabled: false, problem: messageOf(error) }
  }
}
