"""The keys that the exporter writes for the objects of `objects`, one of each kind."""

CONFIG, HEARTBEAT = b"cilium/cluster-config/east", b"cilium/.heartbeat"
NODE = b"cilium/state/nodes/v1/east/worker-1"
IDENTITY = b"cilium/state/identities/v1/id/196871"
IP = b"cilium/state/ip/v1/default/10.3.1.44"
SERVICE_KEY = b"cilium/state/services/v1/east/shop/web"
SLICE_KEY = b"cilium/state/endpointslices/v1/east/shop/web-1"
CANARIES = {
    b"cilium/synced/east/cilium/state/" + kind + b"/v1"
    for kind in (b"nodes", b"identities", b"ip", b"services", b"endpointslices", b"serviceexports")
}
EVERYTHING = {CONFIG, HEARTBEAT, NODE, IDENTITY, IP, SERVICE_KEY, SLICE_KEY, *CANARIES}
CONFIG_VALUE = (
    b'{"id":3,"capabilities":'
    b'{"syncedCanaries":true,"maxConnectedClusters":255,"serviceExportsEnabled":false,'
    b'"endpointSlicesExportMode":"services-and-endpointslices"}}'
)
