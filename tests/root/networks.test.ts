/** Networks of users: who reaches whom, names, and what changes while containers run. */
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { census, disposeClean, NOTHING, settledCensus } from '../census.ts'
import { dockerClient, exec, newNamespace, ownClient, type TestDaemon, testDaemon, until } from '../harness.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'
const BUSYBOX = '/bin/busybox'
const SERVE = ['sh', '-c', 'mkdir /w; echo $HOSTNAME >/w/index.html; httpd -p 80 -h /w; sleep 1000'] as const

/** A neighbour on the LAN of the daemon's host: 192.0.2.2 and 2001:db8:1::2, the host is .1. */
async function neighbour(daemon: TestDaemon): Promise<ChildProcess> {
  const holder = await newNamespace()
  const there = (...words: readonly string[]): Promise<unknown> => exec('nsenter', ['--net', '-t', String(holder.pid), 'ip', ...words])
  await daemon.inside('ip', 'link', 'add', 'lan0', 'type', 'veth', 'peer', 'name', 'lan1', 'netns', String(holder.pid))
  for (const words of [['addr', 'add', '192.0.2.1/24', 'dev', 'lan0'], ['addr', 'add', '2001:db8:1::1/64', 'dev', 'lan0', 'nodad'], ['link', 'set', 'lan0', 'up']]) await daemon.inside('ip', ...words)
  for (const words of [['addr', 'add', '192.0.2.2/24', 'dev', 'lan1'], ['addr', 'add', '2001:db8:1::2/64', 'dev', 'lan1', 'nodad'], ['link', 'set', 'lan1', 'up'], ['route', 'add', 'default', 'via', '192.0.2.1'], ['route', 'add', 'default', 'via', '2001:db8:1::1']]) await there(...words)
  return holder
}

const hasIp = (await exec('sh', ['-c', 'command -v ip'])).code === 0

const hasNft = existsSync('/usr/sbin/nft')
const hasIptables = (await exec('sh', ['-c', 'command -v iptables && iptables --version | grep nf_tables'])).code === 0

describe('who reaches whom', { skip: skip || (hasIp ? false : 'needs ip (Debian package iproute2)') }, () => {
  let daemon: TestDaemon
  let lan: ChildProcess
  const { gantry, ok } = ownClient(() => daemon)
  type From = 'host' | 'neighbour' | (string & {})
  const fetch = async (from: From, url: string): Promise<string> => {
    const wget = ['timeout', '2', 'wget', '-q', '-O-', url]
    if (from === 'host') return daemon.inside(BUSYBOX, ...wget).then((text) => text.trim(), () => '')
    if (from === 'neighbour') return (await exec('nsenter', ['--net', '-t', String(lan.pid), BUSYBOX, ...wget])).out.trim()
    return (await exec(process.execPath, [`${process.cwd()}/build/gantry.cjs`, '-H', daemon.host, 'exec', from, ...wget])).out.trim()
  }
  const addressOf = (name: string, field: string, network: string): Promise<string> => ok('inspect', '-f', `{{(index .NetworkSettings.Networks "${network}").${field}}}`, name)
  before(async () => {
    daemon = await testDaemon()
    lan = await neighbour(daemon)
    await ok('network', 'create', 'one')
    await ok('network', 'create', 'two')
    await ok('network', 'create', '--internal', 'shut')
    await ok('network', 'create', '-o', 'com.docker.network.bridge.enable_icc=false', 'strict')
    await ok('run', '-d', '--name', 'web', '-h', 'web', '--network', 'one', '-p', '8080:80', '-p', '127.0.0.1:8081:80', 'busybox', ...SERVE)
    await ok('run', '-d', '--name', 'peer', '-h', 'peer', '--network', 'one', 'busybox', ...SERVE)
    await ok('run', '-d', '--name', 'far', '-h', 'far', '--network', 'two', 'busybox', ...SERVE)
    await ok('run', '-d', '--name', 'in', '-h', 'in', '--network', 'shut', 'busybox', ...SERVE)
    await ok('run', '-d', '--name', 'in2', '-h', 'in2', '--network', 'shut', 'busybox', ...SERVE)
    for (const name of ['s1', 's2']) await ok('run', '-d', '--name', name, '-h', name, '--network', 'strict', '-p', name === 's1' ? '8082:80' : '8083:80', 'busybox', ...SERVE)
    for (const [name, network] of [['web', 'one'], ['peer', 'one'], ['far', 'two'], ['in', 'shut'], ['in2', 'shut'], ['s1', 'strict'], ['s2', 'strict']] as const) {
      const address = await addressOf(name, 'IPAddress', network)
      await until(`${name} serves`, async () => (await fetch('host', `http://${address}`)) === name, 30_000)
    }
    await exec('nsenter', ['--net', '-t', String(lan.pid), BUSYBOX, 'sh', '-c', 'mkdir -p /tmp/gtest-lan && echo lan >/tmp/gtest-lan/index.html && /bin/busybox httpd -p 80 -h /tmp/gtest-lan'])
    await daemon.inside(BUSYBOX, 'sh', '-c', 'mkdir -p /tmp/gtest-host && echo host >/tmp/gtest-host/index.html && /bin/busybox httpd -p 127.0.0.1:9090 -h /tmp/gtest-host')
  })
  after(async () => {
    for (const name of (await ok('ps', '-aq')).split('\n')) await ok('rm', '-f', name)
    await ok('network', 'prune', '-f')
    await exec('sh', ['-c', `for p in $(pgrep -f 'httpd -p (80|127.0.0.1:9090) -h /tmp/gtest-(lan|host)'); do kill $p; done; rm -rf /tmp/gtest-lan /tmp/gtest-host`])
    const left = await settledCensus(daemon)
    lan.kill('SIGKILL')
    await daemon.dispose()
    assert.deepEqual(left, NOTHING)
  })
  for (const filtered of ['1', '0']) {
    it(`22 ways, with bridge-nf-call-iptables ${filtered}`, async (test) => {
      const setting = '/proc/sys/net/bridge/bridge-nf-call-iptables'
      if (existsSync(setting)) await daemon.inside('sh', '-c', `echo ${filtered} >${setting}; echo ${filtered} >/proc/sys/net/bridge/bridge-nf-call-ip6tables`)
      else if (filtered === '1') return test.skip('br_netfilter is not loaded')
      const [web4, web6, far4, in4, gateway] = await Promise.all([addressOf('web', 'IPAddress', 'one'), addressOf('web', 'GlobalIPv6Address', 'one'), addressOf('far', 'IPAddress', 'two'), addressOf('in', 'IPAddress', 'shut'), addressOf('web', 'Gateway', 'one')])
      const [peer4, s2] = [await addressOf('peer', 'IPAddress', 'one'), await addressOf('s2', 'IPAddress', 'strict')]
      const cases: readonly (readonly [From, string, string])[] = [
        ['neighbour', 'http://192.0.2.1:8080', 'web'], ['neighbour', 'http://[2001:db8:1::1]:8080', 'web'], ['host', 'http://127.0.0.1:8080', 'web'], ['host', 'http://[::1]:8080', 'web'], ['host', 'http://192.0.2.1:8080', 'web'], ['host', `http://${web4}`, 'web'],
        ['host', 'http://127.0.0.1:8081', 'web'], ['peer', 'http://192.0.2.1:8080', 'web'], ['web', 'http://192.0.2.1:8080', 'web'], ['peer', `http://${gateway}:8080`, 'web'], ['far', 'http://192.0.2.1:8080', 'web'], ['peer', `http://${web4}`, 'web'], ['web', `http://${peer4}`, 'peer'],
        ['web', 'http://192.0.2.2', 'lan'], ['web', 'http://[2001:db8:1::2]', 'lan'], ['in', 'http://in2', 'in2'],
        ['far', `http://${web4}`, ''], ['neighbour', `http://${web4}`, ''], ['neighbour', `http://[${web6}]`, ''], ['in', 'http://192.0.2.2', ''], ['in', `http://${far4}`, ''], ['far', `http://${in4}`, ''], ['neighbour', 'http://192.0.2.1:8081', ''],
        ['web', 'http://127.0.0.1:9090', ''], ['s1', `http://${s2}`, ''], ['s1', 'http://192.0.2.1:8080', 'web'],
      ]
      const seen = await Promise.all(cases.map(async ([from, url]) => [from, url, await fetch(from, url)] as const))
      assert.deepEqual(seen, cases)
    })
  }
  it('a host that drops what is forwarded: bridges pass, isolation stays; nothing of it is left', { skip: hasIptables ? false : 'needs iptables' }, async () => {
    for (const tool of ['iptables', 'ip6tables']) await daemon.inside(tool, '-P', 'FORWARD', 'DROP')
    await ok('network', 'create', 'late')
    assert.match(await daemon.inside('iptables', '-S', 'FORWARD'), /-A FORWARD -i br-\w+ /)
    await ok('network', 'rm', 'late')
    await until('bridges pass', async () => (await fetch('neighbour', 'http://192.0.2.1:8080')) === 'web')
    assert.equal(await fetch('web', 'http://192.0.2.2'), 'lan')
    assert.equal(await fetch('neighbour', 'http://[2001:db8:1::1]:8080'), 'web')
    assert.equal(await fetch('far', `http://${await addressOf('web', 'IPAddress', 'one')}`), '')
    for (const tool of ['iptables', 'ip6tables']) await daemon.inside(tool, '-P', 'FORWARD', 'ACCEPT')
  })
  it('network why says the same, with the rule that decides', async () => {
    const why = async (from: string, to: string): Promise<string> => (await gantry('network', 'why', from, to)).out
    assert.match(await why('peer', 'web:80'), /^peer reaches web:80\n  yes: both are on network one; "same" accepts/)
    assert.match(await why('far', 'peer:80'), /^far does not reach peer:80\n  no: they share no network: the last rule of "forward" drops/)
    assert.match(await why('s1', 's2:80'), /no: both are on network strict, where containers may not talk[\s\S]*yes: the port is published on 0\.0\.0\.0:8083/)
    assert.match(await why('outside', 'web:80'), /^outside reaches[\s\S]*published on 0\.0\.0\.0:8080[\s\S]*no: the port is published on 127\.0\.0\.1:8081/)
    assert.match(await why('outside', 'peer:80'), /^outside does not reach[\s\S]*port 80\/tcp is not published/)
    assert.match(await why('in', 'web:80'), /^in does not reach[\s\S]*no way out of its internal networks/)
    assert.match((await gantry('network', 'why', 'peer', 'web')).err, /expected CONTAINER:PORT/)
  })
  it('what leaves a container has the host’s address; a rebuilt table leaves connections and isolation as they are', async () => {
    assert.match(await ok('exec', 'web', 'sh', '-c', 'timeout 2 wget -q -O- http://192.0.2.2 && echo'), /lan/)
    await daemon.kill()
    await daemon.start()
    assert.equal(await fetch('neighbour', 'http://192.0.2.1:8080'), 'web')
    assert.equal(await fetch('host', 'http://[::1]:8080'), 'web')
    assert.equal(await fetch('far', `http://${await addressOf('web', 'IPAddress', 'one')}`), '')
    assert.equal(await fetch('peer', 'http://web'), 'web')
  })
})

/** Removes all that the tests made, and asserts that the daemon leaves nothing. */
async function leaveNothing(daemon: TestDaemon, ok: ReturnType<typeof ownClient>['ok']): Promise<void> {
  for (const name of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', name)
  await ok('network', 'prune', '-f')
  await disposeClean(daemon)
}

describe('rules that somebody takes away', { skip: skip !== false ? skip : hasNft ? false : 'needs nft' }, () => {
  let daemon: TestDaemon
  const { ok } = ownClient(() => daemon)
  const forward = (table: string, chain: string): Promise<string> => daemon.inside('nft', 'list', 'chain', 'inet', table, chain).then((text) => text, () => '')
  before(async () => {
    daemon = await testDaemon(['--bridge', 'none', '--own-firewall-table=false'])
  })
  after(() => leaveNothing(daemon, ok))
  it('come back at once, with all networks and ports', async () => {
    // The first network of a daemon that has no bridge of its own.
    await ok('network', 'create', 'one')
    await ok('network', 'create', 'two')
    await ok('run', '-d', '--name', 'web', '--network', 'one', '-p', '8080:80', 'busybox', 'sh', '-c', 'mkdir /w; echo web >/w/index.html; httpd -f -p 80 -h /w')
    const [, table = ''] = /table inet (gantry-\w+)/.exec(await daemon.inside('nft', 'list', 'tables')) ?? []
    const get = (): Promise<string> => daemon.inside(BUSYBOX, 'timeout', '2', 'wget', '-q', '-O-', 'http://127.0.0.1:8080').then((text) => text.trim(), () => '')
    await until('it serves', async () => (await get()) === 'web')
    const address = await ok('inspect', '-f', '{{.NetworkSettings.Networks.one.IPAddress}}', 'web')
    for (const words of [['flush', 'ruleset'], ['delete', 'table', 'inet', table], ['flush', 'chain', 'inet', table, 'forward']]) {
      await daemon.inside('nft', ...words)
      await until(`the rules are back after ${words.join(' ')}`, async () => /ct status dnat accept/.test(await forward(table, 'forward')))
      assert.equal(await get(), 'web', words.join(' '))
      assert.equal(await ok('run', '--rm', '--network', 'two', 'busybox', 'sh', '-c', `timeout 1 wget -q -O- http://${address} || echo shut`), 'shut')
    }
  })
  it('firewalld’s chain lets bridges pass, each time that it is made anew', async () => {
    const make = 'add table inet firewalld; add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; policy accept; }; add rule inet firewalld filter_FORWARD reject'
    for (const words of [make, `flush chain inet firewalld filter_FORWARD; ${make}`]) {
      await daemon.inside('nft', words)
      await until('bridges pass', async () => ((await forward('firewalld', 'filter_FORWARD')).match(/ifname "br-\w+" accept/g) ?? []).length === 4)
    }
    await ok('network', 'create', 'three')
    assert.equal((await forward('firewalld', 'filter_FORWARD')).match(/ifname "br-\w+" accept/g)?.length, 6)
    await ok('network', 'rm', 'three')
    assert.equal((await forward('firewalld', 'filter_FORWARD')).match(/ifname "br-\w+" accept/g)?.length, 4)
    await daemon.inside('nft', 'delete', 'table', 'inet', 'firewalld')
  })
})

describe('networks of users', { skip }, () => {
  let daemon: TestDaemon
  const { gantry, ok } = ownClient(() => daemon)
  before(async () => {
    daemon = await testDaemon(['--default-address-pool', 'base=10.200.0.0/16,size=24'])
  })
  after(() => leaveNothing(daemon, ok))
  const lookUp = (name: string, what: string): Promise<string> => gantry('exec', name, 'nslookup', what).then((ran) => [...ran.out.matchAll(/^(?:Address: |Name:\s|.*name = )(.*)$/gm)].map((match) => match[1] ?? '').join(' '))

  it('create, inspect, list by filters, remove; names and subnets are taken once', async () => {
    await ok('network', 'create', '--subnet', '10.9.0.0/16', '--ip-range', '10.9.5.0/24', '--gateway', '10.9.0.254', '--aux-address', 'router=10.9.5.0', '--label', 'a=b', 'made')
    assert.equal(await ok('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Subnet}} {{(index .IPAM.Config 0).Gateway}} {{(index .IPAM.Config 0).IPRange}} {{.EnableIPv6}} {{.Labels.a}}', 'made'), '10.9.0.0/16 10.9.0.254 10.9.5.0/24 true b')
    assert.match((await gantry('network', 'create', 'made')).err, /network with name made already exists/)
    assert.match((await gantry('network', 'create', '--subnet', '10.9.7.0/24', 'other')).err, /Pool overlaps with other one on this address space/)
    assert.match((await gantry('network', 'create', '--subnet', '10.9.7.0', 'other')).err, /invalid network config:\ninvalid subnet 10\.9\.7\.0: invalid CIDR block notation/)
    assert.match((await gantry('network', 'rm', 'bridge')).err, /bridge is a pre-defined network and cannot be removed/)
    assert.match((await gantry('network', 'rm', 'nowhere')).err, /network nowhere not found/)
    assert.equal(await ok('network', 'rm', '--force', 'nowhere'), '')
    assert.match((await gantry('network', 'rm', '--force', 'bridge')).err, /bridge is a pre-defined network and cannot be removed/)
    await ok('network', 'create', 'pooled')
    assert.match(await ok('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Subnet}}', 'pooled'), /^10\.200\.\d+\.0\/24$/)
    assert.equal(await ok('network', 'ls', '--filter', 'type=custom', '--format', '{{.Name}}'), 'made\npooled')
    assert.equal(await ok('network', 'ls', '--filter', 'label=a=b', '--format', '{{.Name}}'), 'made')
    assert.equal(await ok('run', '--rm', '--network', 'made', 'busybox', 'hostname', '-i').then((text) => text.split(' ')[0]), '10.9.5.1')
    assert.equal(await ok('run', '--rm', '--network', 'made', '--ip', '10.9.8.8', '--mac-address', '02:11:22:33:44:55', 'busybox', 'sh', '-c', 'hostname -i | cut -d" " -f1; cat /sys/class/net/eth0/address'), '10.9.8.8\n02:11:22:33:44:55')
    assert.match((await gantry('run', '--rm', '--network', 'made', '--ip', '10.10.0.1', 'busybox', 'true')).err, /no configured subnet or ip-range contain the IP address 10\.10\.0\.1/)
    assert.match((await gantry('run', '--rm', '--ip', '10.10.0.1', 'busybox', 'true')).err, /user specified IP address is supported on user defined networks only/)
    await ok('network', 'rm', 'made', 'pooled')
  })
  it('names: of containers, aliases and short ids, on shared networks only; the rest is asked for outside, but never by an internal network', async () => {
    for (const name of ['red', 'blue']) await ok('network', 'create', name)
    await ok('network', 'create', '--internal', 'shut')
    const id = await ok('run', '-d', '--name', 'target', '--network', 'red', '--network-alias', 'also', 'busybox', 'sleep', '1000')
    await ok('run', '-d', '--name', 'second', '--network', 'red', '--network-alias', 'also', 'busybox', 'sleep', '1000')
    await ok('run', '-d', '--name', 'asker', '--network', 'red', 'busybox', 'sleep', '1000')
    await ok('run', '-d', '--name', 'stranger', '--network', 'blue', 'busybox', 'sleep', '1000')
    await ok('run', '-d', '--name', 'shutin', '--network', 'shut', 'busybox', 'sleep', '1000')
    const address = await ok('inspect', '-f', '{{.NetworkSettings.Networks.red.IPAddress}}', 'target')
    for (const name of ['target', 'TARGET', 'also', id.slice(0, 12), 'target.red']) assert.match(await lookUp('asker', name), new RegExp(address.replaceAll('.', '\\.')), name)
    assert.equal((await lookUp('asker', 'also')).match(/10\.200\.\d+\.\d+/g)?.length, 2, 'an alias of two leads to both')
    assert.match(await lookUp('asker', address), /target\.red/)
    assert.doesNotMatch(await lookUp('stranger', 'target'), /10\.200/)
    assert.match((await gantry('exec', 'shutin', 'nslookup', 'outside.example')).out, /SERVFAIL/)
    assert.match(await ok('exec', 'asker', 'cat', '/etc/resolv.conf'), /^nameserver 127\.0\.0\.11\n(search .*\n)?options .*ndots:0$/)
    await ok('rename', 'target', 'renamed')
    assert.match(await lookUp('asker', 'renamed'), new RegExp(address))
    assert.doesNotMatch(await lookUp('asker', 'target'), new RegExp(address))
    // Over TCP, and after a kill of the daemon, which has to open the sockets anew.
    await daemon.kill()
    await daemon.start()
    assert.match(await lookUp('asker', 'also'), new RegExp(address))
    for (const name of ['renamed', 'second', 'asker', 'stranger', 'shutin']) await ok('rm', '-f', name)
    await ok('network', 'rm', 'red', 'blue', 'shut')
  })
  it('connect and disconnect, while it runs and while it does not', async () => {
    for (const name of ['left', 'right']) await ok('network', 'create', name)
    await ok('run', '-d', '--name', 'mover', '--network', 'left', '-p', '8085:80', 'busybox', ...SERVE)
    await ok('run', '-d', '--name', 'fixed', '--network', 'right', 'busybox', 'sleep', '1000')
    assert.doesNotMatch(await lookUp('fixed', 'mover'), /10\.200/)
    await ok('network', 'connect', '--alias', 'guest', 'right', 'mover')
    assert.equal(await ok('exec', 'mover', 'sh', '-c', 'ls /sys/class/net | tr "\\n" " "'), 'eth0 eth1 lo')
    assert.match(await lookUp('fixed', 'guest'), /10\.200/)
    assert.match((await gantry('network', 'connect', 'right', 'mover')).err, /endpoint with name mover already exists in network right/)
    const served = async (): Promise<string> => daemon.inside(BUSYBOX, 'timeout', '2', 'wget', '-q', '-O-', 'http://127.0.0.1:8085').then((text) => text.trim(), () => '')
    await until('it serves', async () => (await served()) !== '')
    await ok('network', 'disconnect', 'left', 'mover')
    assert.notEqual(await served(), '', 'published over the network that is left')
    assert.match(await ok('exec', 'mover', 'ip', 'route'), /default via 10\.200\.\d+\.1 dev eth1/)
    assert.match((await gantry('network', 'rm', 'right')).err, /network right has active endpoints \(name:"(mover|fixed)"/)
    await ok('stop', '-t', '0', 'mover')
    await ok('network', 'connect', 'left', 'mover')
    assert.equal(await ok('inspect', '-f', '{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{end}}', 'mover').then((text) => text.trim().split(' ').sort().join(' ')), 'left right')
    await ok('start', 'mover')
    assert.equal(await ok('exec', 'mover', 'sh', '-c', 'ls /sys/class/net | tr "\\n" " "'), 'eth0 eth1 lo')
    const server = (): Promise<string> => ok('exec', 'mover', 'grep', 'nameserver', '/etc/resolv.conf')
    await ok('network', 'connect', 'bridge', 'mover')
    assert.equal(await server(), 'nameserver 127.0.0.11')
    for (const name of ['left', 'right']) await ok('network', 'disconnect', name, 'mover')
    assert.doesNotMatch(await server(), /127\.0\.0\.11/, 'without names the servers are asked directly: a restarted daemon opens no resolver here')
    for (const name of ['mover', 'fixed']) await ok('rm', '-f', name)
    await ok('network', 'rm', 'left', 'right')
  })
  it('settings of an endpoint\'s interface', async () => {
    const shown = await ok('run', '--rm', '--network', 'name=bridge,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1', 'busybox', 'cat', '/proc/sys/net/ipv4/conf/eth0/log_martians')
    assert.equal(shown, '1')
    for (const [bad, why] of [['net.ipv4.conf.eth0.log_martians=1', /should be in the form/], ['net.ipv4.conf.IFNAME.nosuch=1', /no setting/], ['kernel.core_pattern=x', /should be in the form/]] as const) {
      assert.match((await gantry('run', '--rm', '--network', `name=bridge,driver-opt=com.docker.network.endpoint.sysctls=${bad}`, 'busybox', 'true')).err, why)
    }
  })
  it('ipvlan: as the kernel allows; one without it says so before anything is made', async () => {
    assert.match((await gantry('network', 'create', '-d', 'ipvlan', '-o', 'ipvlan_mode=l9', 'ip')).err, /unknown ipvlan mode "l9": expected one of l2, l3, l3s/)
    const made = await gantry('network', 'create', '-d', 'ipvlan', '--subnet', '10.56.0.0/24', 'ip')
    if (made.code !== 0) {
      assert.match(made.err, /ipvlan: this kernel has no such links/)
      assert.doesNotMatch(await ok('network', 'ls', '--format', '{{.Name}}'), /^ip$/m)
      return
    }
    await ok('run', '-d', '--name', 'i1', '--network', 'ip', 'busybox', 'sleep', '1000')
    assert.equal((await gantry('run', '--rm', '--network', 'ip', 'busybox', 'ping', '-c1', '-W2', 'i1')).code, 0)
    await ok('rm', '-f', 'i1')
    await ok('network', 'rm', 'ip')
  })
  it('macvlan: addresses of its own, no way to the host’s own', async () => {
    await ok('network', 'create', '-d', 'macvlan', '--subnet', '10.55.0.0/24', 'mac')
    await ok('run', '-d', '--name', 'm1', '--network', 'mac', 'busybox', 'sleep', '1000')
    assert.equal((await gantry('run', '--rm', '--network', 'mac', 'busybox', 'ping', '-c1', '-W2', 'm1')).code, 0)
    await ok('rm', '-f', 'm1')
    await ok('network', 'rm', 'mac')
    assert.doesNotMatch(await daemon.inside(BUSYBOX, 'ip', '-o', 'link'), /dm-/)
  })
  it('a container that shares another’s network has its name, hosts and resolver, too', async () => {
    await ok('network', 'create', 'shared')
    await ok('run', '-d', '--name', 'owner', '--hostname', 'lord', '--network', 'shared', '--add-host', 'far:1.2.3.4', 'busybox', 'sleep', '1000')
    await ok('run', '-d', '--name', 'other', '--network', 'shared', 'busybox', 'sleep', '1000')
    const beside = (...words: readonly string[]): Promise<string> => ok('run', '--rm', '--network', 'container:owner', 'busybox', ...words)
    assert.equal(await beside('hostname'), 'lord')
    assert.equal(await beside('hostname', '-i'), await ok('exec', 'owner', 'hostname', '-i'))
    assert.match(await beside('cat', '/etc/hosts'), /1\.2\.3\.4\s+far/)
    assert.match(await beside('nslookup', 'other'), /Name:\s+other/)
    await ok('run', '-d', '--name', 'guest', '--network', 'container:owner', 'busybox', 'sleep', '1000')
    assert.equal(await ok('exec', 'guest', 'sh', '-c', 'echo $HOSTNAME'), 'lord')
    assert.equal(await ok('inspect', '-f', '{{.HostsPath}}', 'guest'), await ok('inspect', '-f', '{{.HostsPath}}', 'owner'))
    await ok('rm', '-f', 'owner', 'other')
    assert.match(await ok('inspect', '-f', '{{.HostsPath}}', 'guest'), /hosts$/)
    await ok('rm', '-f', 'guest')
    await ok('network', 'rm', 'shared')
  })
  it('links of the default bridge: environment, hosts, and openings where containers may not talk', async () => {
    const strict = await testDaemon(['--icc=false'])
    try {
      const own = ownClient(() => strict)
      await own.ok('run', '-d', '--name', 'db', '-e', 'SECRET=x', '--expose', '80', '--expose', '5432', 'busybox', ...SERVE)
      const address = await own.ok('inspect', '-f', '{{.NetworkSettings.IPAddress}}', 'db')
      await until('it serves', () => strict.inside(BUSYBOX, 'timeout', '2', 'wget', '-q', '-O-', `http://${address}`).then(() => true, () => false))
      const seen = await own.ok('run', '--rm', '--name', 'app', '--link', 'db:store', 'busybox', 'sh', '-c', 'env; cat /etc/hosts; timeout 2 wget -q -O- http://store')
      for (const line of [`STORE_PORT=tcp://${address}:80`, `STORE_PORT_5432_TCP_ADDR=${address}`, 'STORE_NAME=/app/store', 'STORE_ENV_SECRET=x']) assert.ok(seen.split('\n').includes(line), line)
      assert.match(seen, new RegExp(`^${address}\\tstore \\w+ db$`, 'm'))
      assert.equal(await own.ok('run', '--rm', 'busybox', 'sh', '-c', `timeout 2 wget -q -O- http://${address} || echo shut`), 'shut')
      assert.match((await own.gantry('create', '--link', 'nobody:x', 'busybox')).err, /No such container: nobody/)
      // A link is to the container, whatever it is called and whichever address it has.
      await own.ok('run', '-d', '--name', 'web', '--link', 'db:store', '--link', 'db', 'busybox', 'sleep', '1000')
      assert.equal(await own.ok('inspect', '-f', '{{json .HostConfig.Links}}', 'web'), '["/db:/web/store","/db:/web/db"]')
      assert.match(await own.ok('ps', '--no-trunc', '--format', '{{.Names}}'), /^db,web\/db,web\/store$/m)
      assert.equal(await own.ok('inspect', '-f', '{{.Name}}', '/web/store'), '/db')
      const hosts = (): Promise<string> => own.ok('exec', 'web', 'grep', 'store', '/etc/hosts')
      assert.match(await hosts(), new RegExp(`^${address}\\tstore `))
      await own.ok('stop', '-t', '0', 'db')
      await own.ok('run', '-d', '--name', 'between', 'busybox', 'sleep', '1000')
      await own.ok('rename', 'db', 'data')
      await own.ok('start', 'data')
      const moved = await own.ok('inspect', '-f', '{{.NetworkSettings.IPAddress}}', 'data')
      assert.notEqual(moved, address)
      assert.match(await hosts(), new RegExp(`^${moved}\\tstore \\w+ data$`))
      await until('it serves again', () => own.gantry('exec', 'web', 'timeout', '2', 'wget', '-q', '-O-', 'http://store').then((ran) => ran.code === 0))
      await strict.kill()
      await strict.start()
      assert.equal((await own.gantry('exec', 'web', 'timeout', '2', 'wget', '-q', '-O-', 'http://store')).code, 0)
      await own.ok('network', 'create', 'other')
      await own.ok('network', 'connect', 'other', 'web')
      assert.match(await hosts(), new RegExp(`^${moved}\\tstore `))
      await own.ok('network', 'disconnect', 'other', 'web')
      await own.ok('rm', '--link', 'web/store')
      assert.match((await own.gantry('rm', '--link', 'web/store')).err, /Could not get parent/)
      assert.equal(await own.ok('inspect', '-f', '{{json .HostConfig.Links}}', 'web'), '["/data:/web/db"]')
      await own.ok('network', 'rm', 'other')
      await own.ok('rm', '-f', 'data', 'web', 'between')
    } finally {
      await strict.dispose()
    }
  })
  it('UDP and ranges of ports; a port that is taken says so before anything starts', async () => {
    await ok('run', '-d', '--name', 'many', '-p', '9053:53/udp', '-p', '9100-9119:9100-9119', 'busybox', 'sleep', '1000')
    assert.equal((await ok('port', 'many')).split('\n').length, 42)
    const address = await ok('inspect', '-f', '{{.NetworkSettings.IPAddress}}', 'many')
    // What comes to the host's port arrives at the container's, and the answer comes from where the question went.
    await daemon.inside('nsenter', '--net', '-t', await ok('inspect', '-f', '{{.State.Pid}}', 'many'), 'sh', '-c', `timeout 5 ${process.execPath} -e "const s = require('node:dgram').createSocket('udp4'); s.on('message', (m, r) => s.send('echo ' + m, r.port, r.address)); s.bind(53)" >/dev/null 2>&1 &`)
    const ask = (host: string): Promise<string> => daemon.inside(process.execPath, '-e', `const s = require('node:dgram').createSocket('${host.includes(':') ? 'udp6' : 'udp4'}'); s.on('message', (m) => { console.log(String(m)); s.close() }); s.send('ping', 9053, '${host}'); setTimeout(() => process.exit(), 500)`)
    await until('an answer', async () => (await ask('127.0.0.1')).includes('echo ping'))
    assert.match(await ask('::1'), /echo ping/)
    assert.notEqual(address, '')
    // One client, one socket: after the container has been replaced its packets arrive at the new one, not at the old one's address.
    const flow = daemon.inside(process.execPath, '-e', `const s = require('node:dgram').createSocket('udp4'); const heard = new Set(); s.on('message', (m) => { heard.add(String(m)); if (heard.has('echo ping') && heard.has('new ping')) { console.log('both'); process.exit() } }); setInterval(() => s.send('ping', 9053, '127.0.0.1'), 50); setTimeout(() => { console.log([...heard].join()); process.exit() }, 8000)`)
    await new Promise((resolve) => setTimeout(resolve, 400))
    await ok('rm', '-f', 'many')
    await ok('run', '-d', '--name', 'spare', 'busybox', 'sleep', '1000')
    await ok('run', '-d', '--name', 'many', '-p', '9053:53/udp', '-p', '9100-9119:9100-9119', 'busybox', 'sleep', '1000')
    await daemon.inside('nsenter', '--net', '-t', await ok('inspect', '-f', '{{.State.Pid}}', 'many'), 'sh', '-c', `timeout 5 ${process.execPath} -e "const s = require('node:dgram').createSocket('udp4'); s.on('message', (m, r) => s.send('new ' + m, r.port, r.address)); s.bind(53)" >/dev/null 2>&1 &`)
    assert.equal((await flow).trim(), 'both')
    await ok('rm', '-f', 'spare')
    assert.match((await gantry('run', '-d', '--name', 'late', '-p', '9110:80', 'busybox', 'true')).err, /port is already allocated/)
    assert.equal(await ok('inspect', '-f', '{{.State.Status}}', 'late'), 'created')
    await ok('rm', '-f', 'many', 'late')
  })
  it('the genuine client gets the same', { skip: dockerClient() === undefined ? 'needs the docker client' : false }, async () => {
    const docker = async (...words: readonly string[]): Promise<string> => {
      const ran = await exec(dockerClient() ?? '', ['-H', daemon.host, ...words])
      assert.equal(ran.code, 0, ran.err)
      return ran.out.trim()
    }
    await docker('network', 'create', '--driver', 'bridge', '--subnet', '10.66.0.0/24', 'theirs')
    await docker('run', '-d', '--name', 'aa', '--network', 'theirs', '--ip', '10.66.0.66', '--network-alias', 'alias', 'busybox', 'sleep', '1000')
    assert.match(await docker('run', '--rm', '--network', 'theirs', 'busybox', 'nslookup', 'alias'), /10\.66\.0\.66/)
    assert.match(await docker('network', 'inspect', 'theirs'), /"IPv4Address": "10\.66\.0\.66\/24"/)
    await docker('network', 'disconnect', 'theirs', 'aa')
    await docker('network', 'connect', '--ip', '10.66.0.67', 'theirs', 'aa')
    assert.equal(await docker('exec', 'aa', 'sh', '-c', 'hostname -i | cut -d" " -f1'), '10.66.0.67')
    await docker('rm', '-f', 'aa')
    const events = (await exec('sh', ['-c', `timeout 2 ${dockerClient()} -H ${daemon.host} events --since 30s --filter type=network --filter network=theirs --format '{{.Action}} {{.Actor.Attributes.type}}'`])).out.trim().split('\n')
    for (const action of ['create bridge', 'connect bridge', 'disconnect bridge']) assert.ok(events.includes(action), `${action}: ${events.join(', ')}`)
    assert.match(await docker('network', 'prune', '-f'), /Deleted Networks:\s+theirs/)
  })
})

describe('two daemons on one host', { skip }, () => {
  it('serve their own bridges, ports and names; one that comes, is killed or goes does not disturb the other', async () => {
    const first = await testDaemon()
    const own = ownClient(() => first)
    let second: TestDaemon | undefined
    try {
      const serve = (words: string): readonly string[] => ['busybox', 'sh', '-c', `mkdir /w; echo ${words} >/w/index.html; httpd -f -p 80 -h /w`]
      const get = (port: number): Promise<string> => first.inside(BUSYBOX, 'timeout', '2', 'wget', '-q', '-O-', `http://127.0.0.1:${port}`).then((text) => text.trim(), () => '')
      await own.ok('network', 'create', 'same')
      await own.ok('run', '-d', '--name', 'web', '--network', 'same', '-p', '8080:80', ...serve('first'))
      await until('the first serves', async () => (await get(8080)) === 'first')
      second = await testDaemon([], async () => [], first.holder)
      const other = ownClient(() => second as TestDaemon)
      // The same names, on the same host.
      await other.ok('network', 'create', 'same')
      await other.ok('run', '-d', '--name', 'web', '--network', 'same', '-p', '8081:80', ...serve('second'))
      assert.match((await other.gantry('run', '--rm', '-p', '8080:80', 'busybox', 'true')).err, /port is already allocated|address already in use/)
      await until('the second serves', async () => (await get(8081)) === 'second')
      const subnets = await Promise.all([own, other].map((one) => one.ok('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Subnet}}', 'same')))
      assert.notEqual(subnets[0], subnets[1])
      const address = await other.ok('inspect', '-f', '{{.NetworkSettings.Networks.same.IPAddress}}', 'web')
      assert.equal(await own.ok('run', '--rm', '--network', 'same', 'busybox', 'sh', '-c', `timeout 1 wget -q -O- http://${address} || echo shut; wget -q -O- http://web`), 'shut\nfirst')
      await second.kill()
      assert.deepEqual([await get(8080), await get(8081)], ['first', 'second'])
      await second.start()
      await first.kill()
      await first.start()
      assert.deepEqual([await get(8080), await get(8081)], ['first', 'second'])
      await other.ok('rm', '-f', 'web')
      await other.ok('network', 'rm', 'same')
      // Links and elements in their namespace are the first one's, too.
      assert.deepEqual({ ...(await census(second)), links: [], elements: [] }, NOTHING)
      await second.dispose()
      second = undefined
      assert.equal(await get(8080), 'first')
      assert.equal(await own.ok('run', '--rm', '--network', 'same', 'busybox', 'wget', '-q', '-O-', 'http://web'), 'first')
      await own.ok('rm', '-f', 'web')
      await own.ok('network', 'rm', 'same')
      assert.deepEqual(await settledCensus(first), NOTHING)
    } finally {
      await second?.dispose()
      await first.dispose()
    }
  })
})
