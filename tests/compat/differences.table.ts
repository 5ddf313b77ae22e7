/** Steps whose output differs from dockerd's, and why that is right. */
export const JUSTIFIED: readonly (readonly [step: RegExp, reason: string])[] = []
