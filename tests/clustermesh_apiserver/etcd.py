"""What a test's etcd holds."""

from __future__ import annotations

from aiokit.wait import eventually
from kvstore.backend import KeyValue
from kvstore.config import EtcdConfig
from kvstore.errors import KVStoreError
from kvstore.etcd import connect as connect_etcd
from tests.conftest import RunningEtcd


def config(etcd: RunningEtcd) -> EtcdConfig:
    return EtcdConfig(endpoints=(f"http://{etcd.endpoint}",))


async def stored(etcd: RunningEtcd) -> dict[bytes, KeyValue]:
    """All that etcd holds, read by somebody who connects anew, as the etcd may be another one by now."""
    async with connect_etcd(config(etcd)) as backend:
        return {pair.key: pair for pair in await backend.get_prefix(b"cilium/")}


async def wait_stored(etcd: RunningEtcd, keys: set[bytes], timeout: float = 10.0) -> dict[bytes, KeyValue]:
    """Wait until exactly `keys` are stored."""
    last: dict[bytes, KeyValue] = {}

    async def is_so() -> bool:
        nonlocal last
        try:
            last = await stored(etcd)
        except KVStoreError:
            return False
        return last.keys() == keys

    await eventually(is_so, timeout, interval=0.1)
    return last
