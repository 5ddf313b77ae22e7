"""Docker's Python SDK drives an engine through every resource: docker_py.py SOCKET. Prints one line a check, and their number."""
import io
import sys
import tarfile
import time

import docker

client = docker.DockerClient(base_url=sys.argv[1], version='auto', timeout=30)
api = client.api
checks = 0


def check(what, good, shown=''):
    global checks
    checks += 1
    if not good:
        print(f'not ok: {what} {shown}')
        sys.exit(1)
    print(f'ok: {what}')


def equal(what, seen, wanted):
    check(what, seen == wanted, f'{seen!r}, not {wanted!r}')


def fails(what, kind, words, work):
    try:
        work()
    except kind as error:
        check(what, words in str(error), str(error))
    else:
        check(what, False, 'no error')


def until(what, look):
    for _ in range(100):
        if look():
            return check(what, True)
        time.sleep(0.05)
    check(what, False, 'waited in vain')


NotFound, APIError = docker.errors.NotFound, docker.errors.APIError

# the system
check('ping', client.ping())
check('version', client.version()['Os'] == 'linux')
check('info', client.info()['OSType'] == 'linux')
df = client.df()
check('df', 'LayersSize' in df or 'ImageUsage' in df)
fails('login', APIError, 'connection refused', lambda: client.login('a', 'b', registry='127.0.0.1:1'))
fails('swarm', APIError, 'not a swarm manager', lambda: client.swarm.reload())
fails('services', APIError, 'not a swarm manager', lambda: client.services.list())
fails('nodes', APIError, 'not a swarm manager', lambda: client.nodes.list())
equal('plugins', client.plugins.list(), [])

# images
image = client.images.get('busybox')
check('image', 'busybox:latest' in image.tags)
check('images', image in client.images.list())
check('images by name', client.images.list(name='busybox') == [image])
check('history', len(image.history()) > 0)
check('tag', image.tag('py', 'one'))
check('short id', image.short_id.startswith('sha256:'))
image.reload()
saved = b''.join(image.save(named='py:one'))
client.images.remove('py:one')
fails('image that is gone', docker.errors.ImageNotFound, 'No such image: py:one', lambda: client.images.get('py:one'))
loaded = client.images.load(saved)
check('load', loaded[0].id == image.id)
client.images.remove('py:one')
fails('remove what is not there', docker.errors.ImageNotFound, 'No such image', lambda: client.images.remove('py:one'))
fails('pull from nowhere', APIError, 'connection refused', lambda: client.images.pull('127.0.0.1:1/x', tag='y'))
check('prune images', 'SpaceReclaimed' in client.images.prune())
check('search is a request', isinstance(api._url('/images/search'), str))

# run
equal('run', client.containers.run('busybox', 'echo hello', remove=True), b'hello\n')
equal('run, standard error too', client.containers.run('busybox', ['sh', '-c', 'echo err >&2'], stderr=True, remove=True), b'err\n')
try:
    client.containers.run('busybox', ['sh', '-c', 'exit 3'], remove=True)
    check('a failed run', False)
except docker.errors.ContainerError as error:
    equal('a failed run', error.exit_status, 3)
fails('run of no image', APIError, 'connection refused', lambda: client.containers.run('127.0.0.1:1/none', 'true'))
fails('a program that is not there', APIError, 'executable file not found', lambda: client.containers.run('busybox', 'nosuch', remove=True))
fails('too little memory', APIError, 'Minimum memory limit', lambda: client.containers.run('busybox', 'true', mem_limit='1k'))

# a container and its life
box = client.containers.create('busybox', 'sleep 1000', name='pyone', labels={'a': 'b'}, environment={'X': 'y'}, hostname='here', mem_limit='64m', restart_policy={'Name': 'on-failure', 'MaximumRetryCount': 2}, cap_add=['NET_ADMIN'], sysctls={'net.ipv4.ip_forward': 0}, tmpfs={'/t': 'size=1m'}, ulimits=[docker.types.Ulimit(name='nofile', soft=100, hard=200)], extra_hosts={'there': '1.2.3.4'}, ports={'80/tcp': None}, init=True)
equal('status', box.status, 'created')
fails('a name that is taken', APIError, 'already in use', lambda: client.containers.create('busybox', name='pyone'))
equal('list', [one.name for one in client.containers.list(all=True, filters={'label': 'a=b'})], ['pyone'])
equal('list of those that run', client.containers.list(filters={'name': 'pyone'}), [])
box.start()
box.reload()
equal('status of one that runs', box.status, 'running')
check('ports', box.attrs['NetworkSettings']['Ports']['80/tcp'][0]['HostPort'] != '')
equal('memory', box.attrs['HostConfig']['Memory'], 64 << 20)
equal('exec', box.exec_run('echo inside'), (0, b'inside\n'))
equal('exec that fails', box.exec_run(['sh', '-c', 'exit 9']).exit_code, 9)
equal('exec with an environment', box.exec_run(['sh', '-c', 'echo $A'], environment={'A': 'b'}).output, b'b\n')
equal('exec as somebody', box.exec_run('id -u', user='7').output, b'7\n')
equal('exec in a directory', box.exec_run('pwd', workdir='/tmp').output, b'/tmp\n')
equal('exec, apart', box.exec_run(['sh', '-c', 'echo out; echo err >&2'], demux=True).output, (b'out\n', b'err\n'))
equal('exec as it comes', b''.join(box.exec_run('echo streamed', stream=True).output), b'streamed\n')
equal('exec, detached', box.exec_run('touch /made', detach=True).output in (b'', ''), True)
fails('exec of nobody', APIError, 'unable to find user ghost', lambda: box.exec_run('true', user='ghost'))
instance = api.exec_create(box.id, 'sleep 1')
check('exec, inspected', api.exec_inspect(instance['Id'])['Running'] is False)
check('hosts', b'1.2.3.4' in box.exec_run('cat /etc/hosts').output)
check('top', any('sleep' in ' '.join(line) for line in box.top()['Processes']))
box.pause()
box.reload()
equal('paused', box.status, 'paused')
box.unpause()
check('stats', box.stats(stream=False)['memory_stats']['usage'] > 0)
check('stats as they come', 'cpu_stats' in next(box.stats(stream=True, decode=True)))
check('update', 'Warnings' in box.update(mem_limit='96m', memswap_limit='192m'))
box.rename('pytwo')
box.reload()
equal('rename', box.name, 'pytwo')
box.restart(timeout=0)
until('diff', lambda: any(one['Path'] == '/made' for one in box.diff()))
fails('remove what runs', APIError, 'container is running', lambda: box.remove())
box.kill(signal='SIGKILL')
equal('wait', box.wait()['StatusCode'], 137)
fails('kill what has ended', APIError, 'is not running', lambda: box.kill())
box.start()
box.stop(timeout=0)
box.reload()
equal('stopped', box.status, 'exited')

# logs
loud = client.containers.run('busybox', ['sh', '-c', 'for i in 1 2 3; do echo line $i; done; sleep 1000'], detach=True, name='pyloud')
until('logs', lambda: loud.logs() == b'line 1\nline 2\nline 3\n')
equal('the last line', loud.logs(tail=1), b'line 3\n')
check('with times', loud.logs(tail=1, timestamps=True).endswith(b'Z line 3\n'))
check('logs as they come', next(loud.logs(stream=True, follow=True)).startswith(b'line 1\n'))
equal('since later', loud.logs(since=int(time.time()) + 100), b'')
loud.remove(force=True)
asks = client.containers.create('busybox', 'cat', stdin_open=True, name='pyasks')
socket = asks.attach_socket(params={'stdin': 1, 'stdout': 1, 'stream': 1})
asks.start()
socket._sock.sendall(b'through\n')
equal('attach', socket._sock.recv(100)[8:], b'through\n')
socket.close()
asks.remove(force=True)

# files
data = io.BytesIO()
with tarfile.open(fileobj=data, mode='w') as archive:
    entry = tarfile.TarInfo('put')
    entry.size = 3
    archive.addfile(entry, io.BytesIO(b'in\n'))
check('put', box.put_archive('/tmp', data.getvalue()))
stream, stat = box.get_archive('/tmp/put')
equal('what is there', (stat['name'], stat['size']), ('put', 3))
with tarfile.open(fileobj=io.BytesIO(b''.join(stream))) as archive:
    equal('get', archive.extractfile('put').read(), b'in\n')
fails('get what is not there', NotFound, 'Could not find the file', lambda: box.get_archive('/nosuch'))
check('export', len(b''.join(box.export())) > 100000)
made = box.commit('pymade', 'x', message='why', author='me', changes='ENV A=b')
equal('commit', made.attrs['Comment'], 'why')
client.images.remove('pymade:x')
box.remove(v=True)
fails('a container that is gone', NotFound, 'No such container', lambda: client.containers.get('pytwo'))
check('prune containers', 'SpaceReclaimed' in client.containers.prune())

# volumes
volume = client.volumes.create('pyvolume', labels={'a': 'b'})
equal('volume', volume.attrs['Driver'], 'local')
check('volumes', volume in client.volumes.list(filters={'label': 'a=b'}))
client.containers.run('busybox', ['sh', '-c', 'echo kept > /v/file'], volumes={'pyvolume': {'bind': '/v', 'mode': 'rw'}}, remove=True)
equal('what is kept', client.containers.run('busybox', 'cat /v/file', mounts=[docker.types.Mount('/v', 'pyvolume', read_only=True)], remove=True), b'kept\n')
user = client.containers.create('busybox', volumes=['pyvolume:/v'])
fails('a volume in use', APIError, 'volume is in use', lambda: volume.remove())
user.remove()
volume.remove()
fails('a volume that is gone', NotFound, 'no such volume', lambda: client.volumes.get('pyvolume'))
check('prune volumes', 'SpaceReclaimed' in client.volumes.prune())

# networks
pool = docker.types.IPAMPool(subnet='10.65.0.0/24', gateway='10.65.0.1')
network = client.networks.create('pynet', driver='bridge', ipam=docker.types.IPAMConfig(pool_configs=[pool]), labels={'a': 'b'}, check_duplicate=True)
equal('networks', [one.name for one in client.networks.list(filters={'label': 'a=b'})], ['pynet'])
fails('a name that is taken', APIError, 'already exists', lambda: client.networks.create('pynet', check_duplicate=True))
first = client.containers.run('busybox', 'sleep 1000', name='pyfirst', network='pynet', detach=True)
check('names', b'10.65.0.' in client.containers.run('busybox', 'nslookup pyfirst', network='pynet', remove=True))
second = client.containers.run('busybox', 'sleep 1000', name='pysecond', detach=True)
network.connect(second, ipv4_address='10.65.0.99', aliases=['alias'])
network.reload()
equal('members', sorted(one.name for one in network.containers), ['pyfirst', 'pysecond'])
check('alias', second.exec_run('ping -c 1 -W 2 pyfirst').exit_code == 0)
fails('a network in use', APIError, 'has active endpoints', lambda: network.remove())
network.disconnect(second)
network.disconnect(first, force=True)
network.remove()
fails('a network that is gone', NotFound, 'not found', lambda: client.networks.get('pynet'))
for one in (first, second):
    one.remove(force=True)
check('prune networks', client.networks.prune() is not None)

# build
image, lines = client.images.build(fileobj=io.BytesIO(b'FROM busybox\nARG A=1\nRUN echo built $A >/built\n'), tag='pybuilt', buildargs={'A': '2'}, labels={'by': 'py'}, rm=True)
equal('build', (image.tags, image.labels, client.containers.run('pybuilt', 'cat /built', remove=True)), (['pybuilt:latest'], {'by': 'py'}, b'built 2\n'))
check('what a build says', any('Step 3/3' in line.get('stream', '') for line in lines))
fails('a build that fails', docker.errors.BuildError, 'returned a non-zero code: 3', lambda: client.images.build(fileobj=io.BytesIO(b'FROM busybox\nRUN exit 3\n')))
fails('a Dockerfile that is none', APIError, 'unknown instruction', lambda: client.images.build(fileobj=io.BytesIO(b'FORM busybox\n')))
client.images.remove('pybuilt')
check('prune builds', client.images.prune_builds()['SpaceReclaimed'] >= 0)

# events
begun = int(time.time()) - 600
events = [event['Action'] for event in client.events(since=begun, until=int(time.time()) + 1, decode=True, filters={'container': 'pyfirst'})]
check('events', events[:2] == ['create', 'start'] and events[-1] == 'destroy', str(events))
print(f'{checks} checks, docker-py {docker.__version__}')
