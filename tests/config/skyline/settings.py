"""
Shared settings, as a Skyline host has them: the documented FLUX_ settings, those of other parts that Flux
reads too, and what else stands in such a file.
"""
import os
from ast import literal_eval

REDIS_SOCKET_PATH = '/tmp/redis.sock'
"""
:var REDIS_SOCKET_PATH: The path for the Redis unix socket
:vartype REDIS_SOCKET_PATH: str
"""
REDIS_PASSWORD = 'sesame&open=50%'

LOG_PATH = '/var/log/skyline'
PID_PATH = '/var/run/skyline'
SKYLINE_TMP_DIR = '/tmp/skyline'
SERVER_METRICS_NAME = 'skyline-1'

GRAPHITE_HOST = 'graphite.example'
GRAPHITE_PROTOCOL = 'http'
GRAPHITE_PORT = '8080'
GRAPHITE_CONNECT_TIMEOUT = 5
GRAPHITE_READ_TIMEOUT = 10
GRAPHITE_GRAPH_SETTINGS = '&width=588&height=308&bgcolor=000000&fontBold=true&fgcolor=C0C0C0'
GRAPHITE_RENDER_URI = 'render'

# @added 20160805 - a name that stands for one before it
CARBON_HOST = GRAPHITE_HOST
CARBON_PORT = 2003

SKYLINE_METRICS_CARBON_HOST = GRAPHITE_HOST
SKYLINE_METRICS_CARBON_PORT = CARBON_PORT
SKYLINE_METRICS_CARBON_PICKLE_PORT = 2004

FULL_DURATION = 86400
STALE_PERIOD = 500
OTHER_LOG = '%s/other.log' % LOG_PATH
ALGORITHMS = [
    'histogram_bins',
    # 'first_hour_average',
    'stddev_from_average',
]
SMTP_OPTS = {
    "sender": 'skyline@example.com',
    "recipients": {
        "skyline": ['you@example.com', "them@" 'example.com'],
    },
    "embed-images": True,
}

SKIP_LIST = [
    'skyline.analyzer.',
    'skyline.boundary.',
    'skyline.ionosphere.',
    'skyline.mirage.',
    # Some of one's own
    'statsd.timers',
]
DO_NOT_SKIP_LIST = ['skyline.analyzer.run_time',
                    'skyline.boundary.run_time',
                    ]

FLUX_IP = '127.0.0.1'
FLUX_PORT = 8000
FLUX_WORKERS = 2
FLUX_VERBOSE_LOGGING = False
FLUX_SELF_API_KEY = 'YOURown32charSkylineAPIkeySecret'
FLUX_API_KEYS = {
    'ZlJXpBL6QVuZg5KL4Vwrccvl8Bl3bBjC': 'warehouse-1',
    'KYRsv508FJpVg7pr11vnZTbeu11UvUqR': 'warehouse-1',  # two, to rotate them
    'ntG9Tlk74FeV7Muy65EdHbZ07Mpvj7Gg': 'warehouse-2.floor-1',
    'A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6': '',
    'too-short': 'warehouse-3',
}
FLUX_BACKLOG = 254
FLUX_MAX_AGE = 60_00
FLUX_PERSIST_QUEUE = True
FLUX_CHECK_LAST_TIMESTAMP = True
FLUX_SEND_TO_CARBON = True
FLUX_CARBON_HOST = CARBON_HOST
FLUX_CARBON_PORT = 2003
FLUX_CARBON_PICKLE_PORT = 2004
FLUX_GRAPHITE_WHISPER_PATH = '/opt/graphite/storage/whisper'
FLUX_ZERO_FILL_NAMESPACES = []
FLUX_LAST_KNOWN_VALUE_NAMESPACES = []
FLUX_AGGREGATE_NAMESPACES = {
    'otel.traces': {
        'method': ['avg'], 'interval': 60, 'zero_fill': False,
    },
}
FLUX_EXTERNAL_AGGREGATE_NAMESPACES = False
FLUX_NAMESPACE_QUOTAS = {
    'warehouse-2.floor-1': 300,
    'nobody': 5,
}
FLUX_SEND_TO_STATSD = False
FLUX_STATSD_HOST = None
FLUX_STATSD_PORT = 8125
FLUX_PROCESS_UPLOADS = False
FLUX_SAVE_UPLOADS = False
FLUX_SAVE_UPLOADS_PATH = '/opt/skyline/flux/processed_uploads'
FLUX_UPLOADS_KEYS = {}
FLUX_OTEL_ENABLED = False
FLUX_TORNADO_ENABLED = False
FLUX_TORNADO_URL = 'http://%s:%s/tornado' % (FLUX_IP, str(FLUX_PORT))
FLUX_DROP_BUCKET_METRICS = True
FLUX_PROMETHEUS_MAX_AGE = 300

VISTA_ENABLED = False
VISTA_FETCHER_PROCESSES = 1
VISTA_FETCH_METRICS = (
    # (remote_host_type, remote_host, …)
    ('graphite', 'https://graphite.example', '60', 'stats.x', 'stats.y.*', None, None,
     ('7days', '24hours')),
)
VISTA_DO_NOT_SUBMIT_CURRENT_MINUTE = True
if os.path.isdir('/opt/graphite'):
    VISTA_VERBOSE_LOGGING = True

IDENTIFY_AIRGAPS = False
PROMETHEUS_INGESTION = False
VORTEX_ENABLED = True
MEMCACHE_ENABLED = True
MEMCACHED_SERVER_IP = '127.0.0.1'
MEMCACHED_SERVER_PORT = 11211
