import type { NetworkRequest, PoolConfig } from '@gantry/libnetwork'
import { asBoolean, asList, asObject, asString, asStringMap, EngineError, type JsonObject } from '@gantry/std'
import { decodeEndpoint } from '../../containers/request/endpoints.ts'
import type { DaemonEngine } from '../../jobs/jobs.ts'
import { parseFilters } from '../filters.ts'
import { type ApiRequest, jsonBody, numberOf, param } from '../request.ts'
import { sendEmpty, sendJson } from '../respond.ts'
import type { Route } from '../router.ts'

const LIST_FILTERS: ReadonlySet<string> = new Set(['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type'])
const PRUNE_FILTERS: ReadonlySet<string> = new Set(['until', 'label', 'label!'])

function decodePool(value: unknown, field: string): PoolConfig {
  const body = asObject(value, field)
  const text = (name: string): string => asString(body[name], `${field}.${name}`)
  return { subnet: text('Subnet'), ipRange: text('IPRange'), gateway: text('Gateway'), aux: asStringMap(body['AuxiliaryAddresses'], `${field}.AuxiliaryAddresses`) }
}

function decodeNetwork(body: JsonObject): NetworkRequest {
  const ipam = asObject(body['IPAM'], 'IPAM')
  const flag = (name: string): boolean => asBoolean(body[name], name)
  const optional = (name: string): boolean | undefined => (body[name] === undefined || body[name] === null ? undefined : flag(name))
  if (flag('Ingress')) throw new EngineError('forbidden', 'cannot create a new "ingress" network: This node is not a swarm manager')
  if (flag('ConfigOnly') || asString(asObject(body['ConfigFrom'], 'ConfigFrom')['Network'], 'ConfigFrom.Network') !== '') throw new EngineError('unsupported', 'ConfigOnly and ConfigFrom are not supported')
  const scope = asString(body['Scope'], 'Scope')
  if (scope !== '' && scope !== 'local') throw new EngineError('forbidden', `cannot create a network of scope ${scope}: this node is not a swarm manager`)
  return {
    name: asString(body['Name'], 'Name'), driver: asString(body['Driver'], 'Driver'), ipv4: optional('EnableIPv4') ?? true, ipv6: optional('EnableIPv6'), internal: flag('Internal'), attachable: flag('Attachable'),
    labels: asStringMap(body['Labels'], 'Labels'), options: asStringMap(body['Options'], 'Options'),
    ipam: { driver: asString(ipam['Driver'], 'IPAM.Driver'), options: asStringMap(ipam['Options'], 'IPAM.Options'), pools: asList(ipam['Config'], 'IPAM.Config').map((one, index) => decodePool(one, `IPAM.Config[${index}]`)) },
  }
}

const key = (request: ApiRequest): string => param(request, 'id')

async function connect(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const body = await jsonBody(request)
  await engine.run('network.connect', { key: key(request), container: asString(body['Container'], 'Container'), request: decodeEndpoint(body['EndpointConfig'], key(request), 'EndpointConfig') })
  sendEmpty(request.response, 200)
}

async function why(engine: DaemonEngine, { query, response }: ApiRequest): Promise<void> {
  const { reaches, reasons } = await engine.run('network.why', { from: query.get('from') ?? '', to: query.get('to') ?? '', port: numberOf(query, 'port', 0), protocol: query.get('protocol') ?? 'tcp' })
  sendJson(response, 200, { Reaches: reaches, Reasons: reasons })
}

async function disconnect(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const body = await jsonBody(request)
  await engine.run('network.disconnect', { key: key(request), container: asString(body['Container'], 'Container'), force: asBoolean(body['Force'], 'Force') })
  sendEmpty(request.response, 200)
}

/** Routes of networks. */
export function networkRoutes(engine: DaemonEngine): readonly Route[] {
  return [
    { method: 'GET', path: '/networks', handle: async ({ query, response, apiVersion }) => sendJson(response, 200, await engine.run('network.list', { apiVersion, filters: parseFilters(query.get('filters') ?? '', LIST_FILTERS) })) },
    {
      method: 'POST', path: '/networks/create',
      handle: async (request) => {
        const { id } = await engine.run('network.create', { request: decodeNetwork(await jsonBody(request)) })
        sendJson(request.response, 201, { Id: id, Warning: '' })
      },
    },
    {
      method: 'POST', path: '/networks/prune',
      handle: async ({ query, response }) => {
        const { removed } = await engine.run('network.prune', { filters: parseFilters(query.get('filters') ?? '', PRUNE_FILTERS) })
        sendJson(response, 200, { NetworksDeleted: removed.length === 0 ? null : removed })
      },
    },
    { method: 'GET', path: '/gantry/network/why', handle: (request) => why(engine, request) },
    { method: 'GET', path: '/networks/{id}', handle: async (request) => sendJson(request.response, 200, await engine.run('network.inspect', { key: key(request), apiVersion: request.apiVersion })) },
    {
      method: 'DELETE', path: '/networks/{id}',
      handle: async (request) => {
        await engine.run('network.remove', { key: key(request) })
        sendEmpty(request.response, 204)
      },
    },
    { method: 'POST', path: '/networks/{id}/connect', handle: (request) => connect(engine, request) },
    { method: 'POST', path: '/networks/{id}/disconnect', handle: (request) => disconnect(engine, request) },
    {
      method: 'POST', path: '/networks/{id}/rename',
      handle: async (request) => {
        await engine.run('network.rename', { key: key(request), name: request.query.get('name') ?? '' })
        sendEmpty(request.response, 204)
      },
    },
  ]
}
