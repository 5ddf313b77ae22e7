import { asList, asObject, asStrings, type JsonObject } from '@gantry/std'
import type { UpdateRequest } from '../update.ts'
import { decodeHostConfig, decodeResources } from './decode-host-config.ts'
import { decodeMount } from './decode-mount.ts'

/** Ours: `GantryPublish`, what changes of the published ports. */
function decodePublish(body: JsonObject): UpdateRequest['publish'] {
  const change = asObject(body['GantryPublish'], 'GantryPublish')
  return { add: decodeHostConfig({ PortBindings: change['Add'] }).PortBindings, remove: asStrings(change['Remove'], 'GantryPublish.Remove') }
}

/** Ours: `GantryMounts`, what changes of the mounts; `Add` as in `HostConfig.Mounts`, `Remove` are destinations. */
function decodeMounts(body: JsonObject): UpdateRequest['mounts'] {
  const change = asObject(body['GantryMounts'], 'GantryMounts')
  return { add: asList(change['Add'], 'GantryMounts.Add').map((one, index) => decodeMount(asObject(one, `GantryMounts.Add[${index}]`), `GantryMounts.Add[${index}]`)), remove: asStrings(change['Remove'], 'GantryMounts.Remove') }
}

/** Reads the body of `POST /containers/{id}/update`. */
export function decodeUpdate(body: JsonObject): UpdateRequest {
  const policy = body['RestartPolicy']
  return { resources: decodeResources(body), restartPolicy: policy === undefined || policy === null ? undefined : decodeHostConfig({ RestartPolicy: policy }).RestartPolicy, publish: decodePublish(body), mounts: decodeMounts(body) }
}
