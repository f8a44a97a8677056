"""Posts a batch of 1,000 metrics as Telegraf's `outputs.http` does (format json, batches, gzip), and works out by the
documented rules what must become of it. Arguments: the address, the key, the time, the prefix or `-`.
Prints the points that must have arrived and the names that must have been told, as JSON."""

import gzip
import json
import random
import sys

import requests

base, key, now, prefix = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
chance = random.Random(5)

HOSTS = ['web-1', 'web-2.example.org', 'db 1']


def cpu(i):
    fields = {name: round(chance.uniform(0, 100), chance.randint(0, 14)) for name in ['usage_idle', 'usage.user']}
    return 'cpu', {'cpu': 'cpu-total' if i % 9 == 0 else 'cpu%d' % i}, fields


def disk(i):
    tags = {'device': 'mapper/vg-%d' % i, 'fstype': 'ext4', 'mode': 'rw', 'path': '/var/lib/data.%d' % i}
    fields = {'free': chance.randrange(1 << 50), 'used_percent': chance.random() * 100, 'inodes/used': i, 'label': 'a'}
    return 'disk', tags, fields


def docker(i):
    # The labels of a container become tags, with dots in their names and anything in their values.
    tags = {
        'com.docker.compose.project': 'shop',
        'com.docker.compose.service': 'api.v%d' % (i % 3),
        'container_image': 'registry.example:5000/team/api',
        'container_name': 'api_%d' % i,
        'engine_host': 'node-%d' % (i % 4),
        'maintainer': "NGINX Docker's Maintainers",
    }
    fields = {'container_id': '%064x' % i, 'exitcode': 0, 'oomkilled': False, 'started_at': 1.65e18, 'pid': -i}
    return 'docker_container_status', tags, fields


def redis(i):
    fields = {'aof_last_bgrewrite_status': 'ok', 'clients': i, 'ratio': 1e-7 * i, 'uptime': 0.0, 'rdb': True}
    return 'redis', {'port': str(6379 + i), 'replication_role': 'master', 'server': '127.0.0.1'}, fields


def snmp(i):
    tags = {'agent_host': '10.0.0.%d' % (i % 250), 'ifName': 'ge-0/0/%d.100' % i}
    return 'if/octets.v2', tags, {'in': chance.randrange(1 << 63), 'out': chance.randrange(1 << 64)}


def metric(i):
    name, tags, fields = chance.choice([cpu, disk, docker, redis, snmp])(i)
    tags['host'] = HOSTS[i % len(HOSTS)]
    # Each metric has a tag of its own, so that no two points are one; Telegraf writes tags and fields sorted.
    tags['a_nr'] = str(i)
    return {
        'fields': dict(sorted(fields.items())),
        'name': name,
        'tags': dict(sorted(tags.items())),
        'timestamp': now - i % 60,
    }


def flat(text):
    return text.replace('.', '_').replace('/', '-')


def sanitised(name):
    """What every posted name goes through."""
    return name.replace(' ', '_').replace('..', '.').replace('*', '_').replace("'", '_')


metrics = [metric(i) for i in range(1000)]
points, dropped = [], []
for one in metrics:
    tags = [flat(value) for tag, value in one['tags'].items() if tag != 'host']
    stem = '.'.join(([] if prefix == '-' else [prefix]) + [one['tags']['host']] + tags + [one['name']])
    for field, value in one['fields'].items():
        name = stem + '.' + flat(field)
        if isinstance(value, (str, bool)):
            dropped.append(name)
        else:
            points.append([sanitised(name), one['timestamp'], repr(float(value))])

headers = {
    'User-Agent': 'Telegraf/1.29.4 Go/1.22.0',
    'Content-Type': 'application/json',
    'Content-Encoding': 'gzip',
    'key': key,
    'telegraf': 'true',
}
if prefix != '-':
    headers['prefix'] = prefix
body = gzip.compress(json.dumps({'metrics': metrics}, separators=(',', ':')).encode())
answer = requests.post(base + '/metric_data_post', data=body, headers=headers, timeout=120)
assert answer.status_code == 207, (answer.status_code, answer.text)
told = answer.json()
assert told['code'] == 207
assert told['message'] == '%d non-numeric value metrics were dropped' % len(dropped)
assert told['dropped non-numeric metrics count'] == len(dropped)
assert told['dropped non-numeric metrics'] == dropped[:len(told['dropped non-numeric metrics'])]
assert len(told['dropped non-numeric metrics']) >= min(len(dropped), 400)
assert told['submitted metrics count'] == told['processed metrics count'] == len(points)
print(json.dumps({'points': points, 'dropped': len(dropped)}))
