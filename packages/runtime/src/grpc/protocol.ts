import { createFileRegistry, type DescService, fromJson, type JsonObject } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import type { OciProcess, OciResources, OciSpec } from '@gantry/libcontainer'
import { EngineError, type ErrorKind } from '@gantry/std'
import { Code, ConnectError } from '@connectrpc/connect'
import type { Bundle, TaskExit } from '../execdriver.ts'
import { type FieldType, MESSAGES, METHODS, PACKAGE, type Scalar } from './protocol.table.ts'

const SCALARS: Readonly<Record<Scalar, string>> = { string: 'TYPE_STRING', bytes: 'TYPE_BYTES', bool: 'TYPE_BOOL', uint32: 'TYPE_UINT32', int32: 'TYPE_INT32', uint64: 'TYPE_UINT64', double: 'TYPE_DOUBLE' }
const isScalar = (type: string): type is Scalar => type in SCALARS

function fieldOf(name: string, type: FieldType, number: number): JsonObject {
  const plain = type.replace(/^repeated /, '')
  return { name, number, label: plain === type ? 'LABEL_OPTIONAL' : 'LABEL_REPEATED', ...(isScalar(plain) ? { type: SCALARS[plain] } : { type: 'TYPE_MESSAGE', typeName: `.${PACKAGE}.${plain}` }) }
}

/** The service as the gRPC library wants it, made from the table (`google/protobuf/descriptor.proto`). */
export function supervisorService(): DescService {
  const file: JsonObject = {
    name: 'supervisor.proto', package: PACKAGE, syntax: 'proto3',
    messageType: Object.entries(MESSAGES).map(([name, fields]) => ({ name, field: fields.map(([field, type], index) => fieldOf(field, type, index + 1)) })),
    service: [{ name: 'Supervisor', method: METHODS.map((one) => ({ name: one.name, inputType: `.${PACKAGE}.${one.input}`, outputType: `.${PACKAGE}.${one.output}`, serverStreaming: one.stream === true })) }],
  }
  const service = createFileRegistry(fromJson(FileDescriptorSetSchema, { file: [file] })).getService(`${PACKAGE}.Supervisor`)
  if (service === undefined) throw new EngineError('internal', 'the table of the protocol makes no service')
  return service
}

/** The same as a `.proto` file. */
export function protoText(): string {
  const messages = Object.entries(MESSAGES).map(([name, fields]) => `message ${name} {${fields.map(([field, type], index) => `\n  ${type} ${field} = ${index + 1};`).join('')}${fields.length > 0 ? '\n' : ''}}\n`)
  const methods = METHODS.map((one) => `  rpc ${one.name}(${one.input}) returns (${one.stream === true ? 'stream ' : ''}${one.output});`)
  return `syntax = "proto3";\npackage ${PACKAGE};\n\nservice Supervisor {\n${methods.join('\n')}\n}\n\n${messages.join('\n')}`
}

/** Messages as TypeScript has them: the names of the table in camel case. */
export interface BundleMessage {
  readonly id: string
  readonly runtime: string
  readonly spec: Uint8Array
  readonly root?: Bundle['root']
  readonly host: readonly BatchMessage[]
  readonly inside: readonly BatchMessage[]
  readonly sysctls: readonly { readonly path: string; readonly value: string }[]
  readonly stdio?: StdioMessage
  readonly log?: NonNullable<Bundle['log']>
  readonly init: boolean
  readonly restoreFrom: string
}
export interface BatchMessage {
  readonly what: string
  readonly bytes: Uint8Array
  readonly acks: number
  readonly pidAt: readonly number[]
}
export type StdioMessage = Bundle['stdio']
export interface ContainerMessage {
  readonly id: string
  readonly runtime: string
  readonly cgroupsPath: string
}
export interface ExecMessage {
  readonly id: string
  readonly process: Uint8Array
  readonly spec: Uint8Array
  readonly stdio?: StdioMessage
  readonly key: string
}
export interface StartedMessage {
  readonly pid: number
  readonly shimPid: number
  readonly steps: readonly { readonly phase: string; readonly what: string; readonly side: string; readonly endedAt: number }[]
}
export interface NoticeMessage {
  readonly kind: 'exit' | 'clean' | 'oom' | ''
  readonly id: string
  readonly key: string
  readonly pid: number
  readonly exit?: TaskExit
}

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))
const parse = <T>(bytes: Uint8Array): T => JSON.parse(Buffer.from(bytes).toString()) as T
const batches = (list: Bundle['network']['host']): readonly BatchMessage[] => list.map((one) => ({ what: one.what, bytes: one.bytes, acks: one.acks, pidAt: one.pidAt ?? [] }))
const unbatched = (list: readonly BatchMessage[]): Bundle['network']['host'] => list.map((one) => ({ what: one.what, bytes: Buffer.from(one.bytes), acks: one.acks, pidAt: one.pidAt }))

/** A bundle on its way to another process. */
export function encodeBundle(bundle: Bundle): BundleMessage {
  return {
    id: bundle.id, runtime: bundle.runtime, spec: json(bundle.spec), root: bundle.root, host: batches(bundle.network.host), inside: batches(bundle.network.inside),
    sysctls: bundle.network.sysctls.map(([path, value]) => ({ path, value })), stdio: bundle.stdio, ...(bundle.log && { log: bundle.log }), init: bundle.init, restoreFrom: bundle.restoreFrom ?? '',
  }
}

/** And back. */
export function decodeBundle(message: BundleMessage): Bundle {
  if (message.root === undefined || message.stdio === undefined) throw new EngineError('invalid', 'a bundle needs root and stdio')
  return {
    id: message.id, runtime: message.runtime, spec: parse<OciSpec>(message.spec), root: message.root,
    network: { host: unbatched(message.host), inside: unbatched(message.inside), sysctls: message.sysctls.map((one) => [one.path, one.value]) },
    stdio: message.stdio, log: message.log, init: message.init, ...(message.restoreFrom !== '' && { restoreFrom: message.restoreFrom }),
  }
}

export const specOf = (bytes: Uint8Array): OciSpec => parse<OciSpec>(bytes)
export const processOf = (bytes: Uint8Array): OciProcess => parse<OciProcess>(bytes)
export const resourcesOf = (bytes: Uint8Array): OciResources => parse<OciResources>(bytes)
export const jsonOf = json
export const parsed = parse

const CODES: Readonly<Partial<Record<ErrorKind, Code>>> = { 'not-found': Code.NotFound, conflict: Code.FailedPrecondition, invalid: Code.InvalidArgument, unsupported: Code.Unimplemented, forbidden: Code.PermissionDenied, unavailable: Code.Unavailable }
const EXIT_CODE = 'exit-code'

/** An error of ours as gRPC carries it; how a start failed travels in the metadata. */
export function toWire(error: unknown, describe: (error: unknown) => { readonly message: string; readonly exitCode: number } | undefined): ConnectError {
  const described = describe(error)
  const message = error instanceof Error ? error.message : String(error)
  const kind = error instanceof EngineError ? error.kind : 'internal'
  return new ConnectError(described?.message ?? message, CODES[kind] ?? Code.Internal, described === undefined ? {} : { [EXIT_CODE]: String(described.exitCode) })
}

/** What arrived, as an error of ours; `exitCode` where the container's program was to blame. */
export function fromWire(error: unknown): { readonly error: EngineError; readonly exitCode: number | undefined } {
  if (!(error instanceof ConnectError)) throw error
  const kind = (Object.entries(CODES).find(([, code]) => code === error.code)?.[0] ?? 'internal') as ErrorKind
  const code = error.metadata.get(EXIT_CODE)
  return { error: new EngineError(kind, error.rawMessage, { cause: error }), exitCode: code === null ? undefined : Number(code) }
}
