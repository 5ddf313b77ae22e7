export * from './stdcopy.ts'
export * from './types/container.ts'
export * from './versions.ts'
export * from './client/transport.ts'
