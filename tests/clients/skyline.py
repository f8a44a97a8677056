"""Calls the service as Skyline's own programs do (Vista, its load test, the BigQuery back-fill), with the library
they use. Arguments: the address, the key, the time. Prints the points that must have arrived, as JSON."""

import gzip
import json
import sys
import zlib

import requests

base, key, now = sys.argv[1], sys.argv[2], int(sys.argv[3])
expected = []


def kept(name, timestamp, value):
    expected.append([name, timestamp, repr(float(value))])


def answered(response, status):
    assert response.status_code == status, (response.request.url, response.status_code, response.text)
    return response


# Vista's worker: one GET for each point, the key last, values as it writes them, a connection each.
for at, (metric, value) in enumerate([
    ('vista.a', '1.0'),
    ('vista.a', '10000000000000000.'),
    ('vista.a', '0.0000001'),
    ('vista.a', '-0.0'),
    ('vista.café.b', '1e5'),
]):
    url = '%s/metric_data?metric=%s&value=%s&timestamp=%s&key=%s' % (base, metric, value, now - 60 + at, key)
    answered(requests.get(url, timeout=10), 204)
    kept(metric, now - 60 + at, value)

# Probes: of the load balancer, of Thunder, and with the key that shall be used.
for probe in [
    requests.get(base + '/metric_data?status=true', timeout=10),
    requests.post(base + '/metric_data_post', json={'status': 'true'}, timeout=10),
]:
    assert answered(probe, 200).json() == {'status': 'ok'}
valid = requests.post(base + '/metric_data_post', json={'key': key, 'validate_key': True}, timeout=10)
assert answered(valid, 200).json() == {'status': 'key valid'}
wrong = requests.post(base + '/metric_data_post', json={'key': 'x' * 32, 'validate_key': True}, timeout=10)
assert answered(wrong, 401).json() == {'code': 401, 'message': 'invalid key'}
for code, status in [(200, 200), (400, 400), (401, 401), (207, 207), (500, 204)]:
    echo = {'status': 'test', 'status_code': code}
    answered(requests.post(base + '/metric_data_post', json=echo, timeout=10), status)

# A look at what would become of a metric: nothing of it is kept.
looked = {'metric': 'never.kept', 'value': 1, 'timestamp': now}
for test in [
    requests.post(base + '/metric_data_post', json=looked, headers={'key': key, 'x-test-only': '1'}, timeout=10),
    requests.post(base + '/metric_data_post', json=dict(looked, key=key, test='true'), timeout=10),
    requests.get(base + '/metric_data?metric=never.kept&value=1&test=true&key=' + key, timeout=10),
    requests.get(base + '/metric_data?metric=never.kept&value=1&key=' + key, headers={'x-test-only': '1'}, timeout=10),
]:
    report = answered(test, 200).json()
    assert (report['ingest_count'], report['drop_count'], report['metrics']) == (1, 0, "['never.kept']"), report

# The load test: basic auth, the proxy's path, everything as text.
metrics = [
    {'metric': 'load.%s' % i, 'timestamp': str(now), 'value': str(i / 7), 'key': key} for i in range(480)
]
answered(requests.post(
    base + '/flux/metric_data_post', auth=('user', 'password'), json={'metrics': metrics, 'key': key}, timeout=10
), 204)
for metric in metrics:
    kept(metric['metric'], now, metric['value'])

# The BigQuery back-fill: gzip, the field's name in small letters, fill and test as booleans.
headers = {'content-encoding': 'gzip', 'content-type': 'application/json'}
for count, test in [(450, False), (30, False), (30, True)]:
    points = [
        {'metric': 'bq.%s.%s' % (count, i), 'timestamp': 1400000000 + i, 'value': i, 'fill': True} for i in range(count)
    ]
    body = gzip.compress(json.dumps({'key': key, 'metrics': points, 'test': test}).encode('utf-8'))
    answer = requests.post(base + '/metric_data_post', data=body, headers=headers, timeout=50)
    if test:
        assert answered(answer, 200).json()['ingest_count'] == 30
        continue
    answered(answer, 204)
    for point in points:
        kept(point['metric'], point['timestamp'], point['value'])

# The same body in other clothes, on one connection that stays open.
session = requests.Session()


def body(name):
    kept(name, now, 2)
    return json.dumps({'metric': name, 'value': 2, 'timestamp': now}).encode()


def pieces(data):
    for at in range(0, len(data), 7):
        yield data[at:at + 7]


raw = zlib.compressobj(wbits=-15)
for encoding, data in [
    ('GZIP', gzip.compress(body('once.gzip'), compresslevel=1)),
    ('x-gzip', b''.join(gzip.compress(part) for part in [b' ', body('once.members'), b''])),
    ('gzip', pieces(gzip.compress(body('once.chunked')))),
    ('deflate', zlib.compress(body('once.zlib'))),
    ('Deflate', raw.compress(body('once.raw')) + raw.flush()),
    ('identity', body('once.plain')),
]:
    headers = {'Content-Encoding': encoding, 'key': key}
    answered(session.post(base + '/metric_data_post', data=data, headers=headers, timeout=10), 204)

# What is broken is told, and costs nothing else.
whole = gzip.compress(json.dumps({'metric': 'never', 'value': 1, 'timestamp': now}).encode())
for data, status, message in [
    (whole[:-1], 400, 'invalid json data - the gzip body ends too early'),
    (whole[:40] + b'\0' + whole[41:], 400, 'invalid json data - the gzip body is damaged'),
    (b'{}', 400, 'invalid json data - the gzip body is damaged'),
    (gzip.compress(b' ' * (64 << 20)), 413, 'request body too large - it inflates to more than'),
]:
    headers = {'Content-Encoding': 'gzip', 'key': key}
    answer = session.post(base + '/metric_data_post', data=data, headers=headers, timeout=10)
    assert answered(answer, status).json()['message'].startswith(message), answer.text
headers = {'Content-Encoding': 'br', 'key': key}
answered(session.post(base + '/metric_data_post', data=whole, headers=headers, timeout=10), 415)
answered(session.post(base + '/metric_data_post', data=body('once.last'), headers={'key': key}, timeout=10), 204)

print(json.dumps(expected))
