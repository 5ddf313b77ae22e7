/** Steps whose output differs from dockerd's, and why that is right. */
export const JUSTIFIED: readonly (readonly [step: RegExp, reason: string])[] = [
  [/^(pull|login|search)\b|^run .*(nosuch:1|--platform)/, 'another first request (the manifest, not /v2/), and the resolver of Node says less than that of Go; the words are the same otherwise'],
  [/^load -i \/dev\/null/, 'dockerd names a folder of its own; ours says what the archive lacks'],
  [/^run --rm busybox (nosuch|\/etc)$/, 'dockerd names runc as the one that failed'],
  [/^run .*--dns/, 'dockerd writes comments into resolv.conf'],
  [/^run .*--init/, 'the peer has no docker-init'],
  [/^run .*--storage-opt/, 'the peer’s driver knows no limit of size here; ours names the field that is wrong'],
  [/^inspect one$/, 'storage driver, its folders, and the name of the runtime'],
  [/^info /, 'the name of the runtime'],
  [/^diff /, 'neither is sorted'],
  [/^cp .*\/nosuch\/dir/, 'what the client says of its own archive depends on which end is first'],
  [/^commit -c "RUN/, 'ours says what is expected instead'],
  [/^volume (prune -af|ls -q)$/, 'dockerd leaves a volume with mount options that nobody has'],
  [/range \.Mounts|^network prune/, 'dockerd gives these in any order'],
  [/^network inspect/, 'ours has IPv6 on new networks'],
]
