import type { Command } from '../command.ts'
import { CHECKPOINT_COMMANDS } from './checkpoint.ts'
import { CONTAINER_COMMANDS } from './containers.ts'
import { CONTEXT_COMMANDS } from './contexts.ts'
import { DISK_COMMANDS } from './disk.ts'
import { IMAGE_COMMANDS } from './images.ts'
import { NETWORK_COMMANDS } from './networks.ts'
import { PRUNE_COMMANDS } from './prune.ts'
import { REGISTRY_COMMANDS } from './registry.ts'
import { RESOURCE_COMMANDS } from './resources.ts'
import { RUN_COMMANDS } from './run.ts'
import { SHELL_COMMANDS } from './shell.ts'
import { SWARM_COMMANDS } from './swarm.ts'
import { SYSTEM_COMMANDS } from './system.ts'

/** Everything that the client can do. */
export const COMMANDS: readonly Command[] = [...RUN_COMMANDS, ...CONTAINER_COMMANDS, ...IMAGE_COMMANDS, ...REGISTRY_COMMANDS, ...DISK_COMMANDS, ...RESOURCE_COMMANDS, ...CHECKPOINT_COMMANDS, ...NETWORK_COMMANDS, ...PRUNE_COMMANDS, ...CONTEXT_COMMANDS, ...SYSTEM_COMMANDS, ...SHELL_COMMANDS, ...SWARM_COMMANDS]
