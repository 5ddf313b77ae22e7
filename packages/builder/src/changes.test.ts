import assert from 'node:assert/strict'
import { it } from 'node:test'
import { applyChanges } from './changes.ts'

it('applyChanges() carries instructions out as a build does', () => {
  assert.deepEqual(applyChanges({ Env: ['A=1'], Cmd: ['old'], WorkingDir: '/w' }, ['ENV B=$A C="x y"', 'ENTRYPOINT ["run"]', 'WORKDIR sub', 'EXPOSE 80 81/udp', 'LABEL a=b', 'USER me', 'VOLUME ["/v"]', 'STOPSIGNAL 9', 'ONBUILD RUN x', 'HEALTHCHECK --retries=2 CMD check']), {
    Env: ['A=1', 'B=1', 'C=x y'], Cmd: null, Entrypoint: ['run'], WorkingDir: '/w/sub', ExposedPorts: { '80/tcp': {}, '81/udp': {} }, Labels: { a: 'b' }, User: 'me', Volumes: { '/v': {} }, StopSignal: '9', OnBuild: ['RUN x'], Healthcheck: { Test: ['CMD-SHELL', 'check'], Retries: 2 },
  })
  assert.deepEqual(applyChanges({}, ['CMD echo hi', 'ENTRYPOINT top']), { Cmd: ['/bin/sh', '-c', 'echo hi'], Entrypoint: ['/bin/sh', '-c', 'top'] })
  assert.throws(() => applyChanges({}, ['RUN rm -rf /']), /RUN is not a valid change command[\s\S]*change:2/)
  assert.throws(() => applyChanges({}, ['NONSENSE x']), /unknown instruction: NONSENSE/)
})
