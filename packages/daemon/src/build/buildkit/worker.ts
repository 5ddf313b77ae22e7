import { hostPlatform } from '@gantry/registry'
import type { GcRule } from '../gc.ts'
import type { BuildHandlerPorts } from '../ports.ts'

const NANOS_IN_MS = 1_000_000n
const LABEL = 'org.mobyproject.buildkit.worker'

function policyOf({ types, unusedMs, reservedBytes, maxUsedBytes, minFreeBytes }: GcRule): object {
  return { all: types.length === 0, filters: types.length === 0 ? [] : [types.map((type) => `type==${type}`).join(',')], keepDuration: BigInt(unusedMs) * NANOS_IN_MS, reservedSpace: BigInt(Math.floor(reservedBytes)), maxUsedSpace: BigInt(Math.floor(maxUsedBytes)), minFreeSpace: BigInt(Math.floor(minFreeBytes)) }
}

/** The one who builds, as clients know it (moby.buildkit.v1.types.WorkerRecord). */
export function workerRecord({ graph, hostGateway, version, gc = [] }: BuildHandlerPorts): object {
  const { os, architecture, variant } = hostPlatform()
  const gateway = hostGateway()
  return {
    ID: 'gantry', Labels: { [`${LABEL}.executor`]: 'gantry', [`${LABEL}.snapshotter`]: graph.driver.name, ...(gateway !== '' && { [`${LABEL}.moby.host-gateway-ip`]: gateway }) },
    platforms: [{ OS: os, Architecture: architecture, Variant: variant }], GCPolicy: gc.map(policyOf), BuildkitVersion: { package: 'gantry', version: `v${version}`, revision: '' },
  }
}
