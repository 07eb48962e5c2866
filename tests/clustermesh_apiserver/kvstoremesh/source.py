"""A remote cluster as KVStoreMesh sees it: opaque values below its keys, and what of them is copied."""

from __future__ import annotations

from kvstore.etcd import connect as connect_etcd
from mesh.keys import HEARTBEAT, Kind, cache_prefix, cluster_config, state_prefix, synced_key
from tests.clustermesh_apiserver.etcd import config, stored
from tests.conftest import RunningEtcd

ALL_KINDS = (
    b'{"id":%d,"capabilities":{"syncedCanaries":true,"maxConnectedClusters":255,'
    b'"serviceExportsEnabled":true,"endpointSlicesExportMode":"services-and-endpointslices"}}'
)
OLD_KINDS = b'{"id":%d,"capabilities":{"syncedCanaries":true,"maxConnectedClusters":255}}'

Entries = dict[Kind, dict[bytes, bytes]]


def entries(mark: bytes = b"first") -> Entries:
    """Values that no decoder would take: they are nobody's business but the reader's."""
    return {
        kind: {
            b"plain": mark,
            b"deep/er/key": b'{ "unknown" : [1,  2] }\n',
            b"bytes": b"\x00\xff\xfe" + mark,
            b"empty": b"",
        }
        for kind in Kind
    }


def copy_of(source: Entries, name: str) -> dict[bytes, bytes]:
    """What our etcd has of them."""
    return {
        cache_prefix(kind, name) + suffix: value
        for kind, pairs in source.items()
        for suffix, value in pairs.items()
    }


def canaries(name: str, *, cached: bool) -> set[bytes]:
    return {synced_key(kind, name, cached=cached) for kind in Kind}


class Source:
    """`etcd` holds the cluster `name`."""

    def __init__(self, etcd: RunningEtcd, name: str, number: int) -> None:
        self.etcd = etcd
        self.name = name
        self.number = number

    async def publish(self, source: Entries, *, config_value: bytes = ALL_KINDS) -> None:
        async with connect_etcd(config(self.etcd)) as backend:
            await backend.put(HEARTBEAT, b"2026-11-23T09:15:02Z")
            for kind, pairs in source.items():
                for suffix, value in pairs.items():
                    await backend.put(state_prefix(kind, self.name) + suffix, value)
                await backend.put(synced_key(kind, self.name), b"2026-11-23T09:15:02Z")
            await backend.put(cluster_config(self.name), config_value % self.number)

    async def put(self, kind: Kind, suffix: bytes, value: bytes) -> None:
        async with connect_etcd(config(self.etcd)) as backend:
            await backend.put(state_prefix(kind, self.name) + suffix, value)

    async def delete(self, kind: Kind, suffix: bytes) -> None:
        async with connect_etcd(config(self.etcd)) as backend:
            await backend.delete(state_prefix(kind, self.name) + suffix)


async def cached(etcd: RunningEtcd, name: str) -> dict[bytes, bytes]:
    """All entries that our etcd has of a cluster, without its configuration and canaries."""
    prefixes = tuple(b"cilium/cache/%s/v1/%s/" % (kind.value.encode(), name.encode()) for kind in Kind)
    return {key: pair.value for key, pair in (await stored(etcd)).items() if key.startswith(prefixes)}


async def announced(etcd: RunningEtcd, name: str) -> set[bytes]:
    return {key for key in await stored(etcd) if key.startswith(b"cilium/synced/%s/" % name.encode())}
