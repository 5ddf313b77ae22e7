import { createFileRegistry, type DescMessage, type DescService, fromBinary, fromJson, type JsonObject, toBinary, create } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { EngineError } from '@gantry/std'
import { PACKAGES, type PackageTable } from './protocol.table.ts'

const SCALARS: Readonly<Record<string, string>> = { string: 'TYPE_STRING', bytes: 'TYPE_BYTES', bool: 'TYPE_BOOL', int32: 'TYPE_INT32', uint32: 'TYPE_UINT32', int64: 'TYPE_INT64' }

const typeOf = (type: string): JsonObject => (SCALARS[type] === undefined ? { type: 'TYPE_MESSAGE', typeName: `.${type}` } : { type: SCALARS[type] })
const entryOf = (field: string): string => `${field.replace(/(?:^|_)(\w)/g, (_, letter: string) => letter.toUpperCase())}Entry`

function messageJson(owner: string, name: string, fields: string): JsonObject {
  const field: JsonObject[] = []
  const nestedType: JsonObject[] = []
  for (const text of fields === '' ? [] : fields.split(', ')) {
    const [, called = '', number = '', kind = '', type = ''] = /^(\w+)=(\d+) (?:(repeated|map) )?([\w.]+)$/.exec(text) ?? []
    if (type === '') throw new EngineError('internal', `the table of the protocol has ${JSON.stringify(text)} in ${name}`)
    if (kind === 'map') {
      nestedType.push({ name: entryOf(called), field: [{ name: 'key', number: 1, label: 'LABEL_OPTIONAL', type: 'TYPE_STRING' }, { name: 'value', number: 2, label: 'LABEL_OPTIONAL', ...typeOf(type) }], options: { mapEntry: true } })
      field.push({ name: called, number: Number(number), label: 'LABEL_REPEATED', type: 'TYPE_MESSAGE', typeName: `.${owner}.${name}.${entryOf(called)}` })
    } else field.push({ name: called, number: Number(number), label: kind === 'repeated' ? 'LABEL_REPEATED' : 'LABEL_OPTIONAL', ...typeOf(type) })
  }
  return { name, field, nestedType }
}

function fileJson({ name, messages, services = {} }: PackageTable, index: number): JsonObject {
  return {
    name: `${name}.proto`, package: name, syntax: 'proto3', dependency: PACKAGES.slice(0, index).map((one) => `${one.name}.proto`),
    messageType: Object.entries(messages).map(([message, fields]) => messageJson(name, message, fields)),
    service: Object.entries(services).map(([service, methods]) => ({
      name: service,
      method: methods.map((text) => {
        const [, method = '', incoming, input = '', outgoing, output = ''] = /^(\w+) (stream )?([\w.]+) -> (stream )?([\w.]+)$/.exec(text) ?? []
        return { name: method, inputType: `.${input}`, outputType: `.${output}`, clientStreaming: incoming !== undefined, serverStreaming: outgoing !== undefined }
      }),
    })),
  }
}

/** The protocol's types (`google/protobuf/descriptor.proto`), made from the table. */
const registry = createFileRegistry(fromJson(FileDescriptorSetSchema, { file: PACKAGES.map(fileJson) }))

/** A service by its full name. */
export function serviceNamed(name: string): DescService {
  const found = registry.getService(name)
  if (found === undefined) throw new EngineError('internal', `the table of the protocol has no service ${name}`)
  return found
}

function messageNamed(name: string): DescMessage {
  const found = registry.getMessage(name)
  if (found === undefined) throw new EngineError('internal', `the table of the protocol has no message ${name}`)
  return found
}

/** Bytes of a message; `fields` has the table's names. */
export function encode(name: string, fields: object): Uint8Array {
  const schema = messageNamed(name)
  return toBinary(schema, create(schema, fields as never))
}

/** A message of its bytes. The caller says what the table makes of it. */
export function decode<T>(name: string, bytes: Uint8Array): T {
  try {
    return fromBinary(messageNamed(name), bytes) as unknown as T
  } catch (cause) {
    throw new EngineError('invalid', `a ${name} of a client cannot be read`, { cause })
  }
}
