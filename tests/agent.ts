import { execFileSync } from 'node:child_process'
import { createServer } from 'node:net'
import { writeFileSync } from 'node:fs'

/** Asks an agent for its keys (draft-ietf-sshm-ssh-agent, 3.4) and shows the type of its answer and how many it has: busybox has nothing for that. */
const ASK = `#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int count, char **words) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  unsigned char answer[9] = {0};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  strncpy(at.sun_path, words[1], sizeof at.sun_path - 1);
  if (connect(fd, (struct sockaddr *)&at, sizeof at) || write(fd, "\\0\\0\\0\\1\\13", 5) != 5) return 1;
  for (int got = 0, now; got < 9; got += now) if ((now = read(fd, answer + got, 9 - got)) <= 0) return 2;
  return printf("%d %d", answer[4], answer[8]) < 0;
}
`
const QUESTION_BYTES = 5
const NO_KEYS = Buffer.from([0, 0, 0, 5, 12, 0, 0, 0, 0])

/** Puts a static program `ask` into a folder: given a socket it shows what the agent behind it answers. */
export function compileAsk(folder: string): void {
  writeFileSync(`${folder}/ask.c`, ASK)
  execFileSync('cc', ['-static', '-o', `${folder}/ask`, `${folder}/ask.c`])
}

/** An agent without keys. */
export async function serveAgent(path: string): Promise<Disposable> {
  const agent = createServer((socket) => socket.on('data', (data) => socket.write(Buffer.concat(Array.from({ length: data.length / QUESTION_BYTES }, () => NO_KEYS)))))
  await new Promise<void>((resolve) => agent.listen(path, resolve))
  return { [Symbol.dispose]: () => void agent.close() }
}
