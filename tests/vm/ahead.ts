/**
 * `--test-global-setup`: the emulated machines take minutes and one core, so that they run beside the tests that come before theirs,
 * one after the other. `cgroup2.test.ts`, the last of the files, reads what they came to.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { keepResult, MACHINES, noMachines, runMachine } from './machines.ts'

let folder = ''

export async function globalSetup(): Promise<void> {
  if ((await noMachines()) !== false) return
  folder = mkdtempSync('/tmp/gtest-vm-')
  process.env['GANTRY_VM_RESULTS'] = folder
  void (async () => {
    for (const files of MACHINES) {
      const ran = await runMachine(files)
      if (folder === '') return
      keepResult(folder, files, ran)
    }
  })()
}

export function globalTeardown(): void {
  if (folder !== '') rmSync(folder, { recursive: true, force: true })
  folder = ''
}
