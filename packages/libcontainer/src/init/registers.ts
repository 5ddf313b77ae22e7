import { registerNumber } from '@gantry/linux'

/** Registers that stay set in a shim, for the exec programs that come later. */
export const SHIM_REGISTERS = {
  /** The container's devpts instance, as mounted by the shim: terminals are opened through it, never by a path. */
  devpts: registerNumber(60),
  /** pidfd of the container's init. */
  init: registerNumber(61),
  /** The container's mount namespace, held until the exit has been reported. */
  mounts: registerNumber(62),
} as const
