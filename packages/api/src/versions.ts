/** Versions of the Engine API that are spoken. */
export const MAX_API_VERSION = '1.56'
/** What requests that name no version get: clients that name none read fields that have been taken out since. */
export const UNVERSIONED_API_VERSION = '1.51'
/** The oldest that is accepted. */
export const MIN_API_VERSION = '1.24'

/** Whether a request of this version (as a number) gets what the API has since another one. */
export function isSince(apiVersion: number, version: string): boolean {
  return apiVersion >= versionNumber(version)
}

/** A version as a number that sorts: 1.44 → 1044. */
export function versionNumber(version: string): number {
  const [major = '0', minor = '0'] = version.split('.')
  return Number(major) * 1000 + Number(minor)
}
