"""Changes a cluster's etcd all the time: addresses, identities and a global service that come and go.

Runs inside the control-plane namespace of the writing cluster, because its etcd listens on loopback there.
Prints a line once it has begun, removes what it wrote when its standard input ends, and prints how many
changes a second it made.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from itertools import count

import click

from kvstore.config import EtcdConfig
from kvstore.etcd import EtcdBackend, connect
from mesh import identity, ipcache, service
from mesh.addressing import ClusterID, ClusterName, Identity
from mesh.identity import SecurityIdentity
from mesh.ipcache import IPEntry
from mesh.keys import Kind, state_prefix
from mesh.podlabels import pod_labels
from mesh.service import GlobalService, Port

SERVICE = "storm"
ROUND_SECONDS = 0.02
ADDRESSES = 100
NUMBERS = 20  # identities
BACKENDS = 30
Pair = tuple[bytes, bytes | None]  # None: delete


@click.command()
@click.option("--endpoint", required=True)
@click.option("--cluster", required=True)
@click.option("--cluster-id", type=int, required=True)
@click.option("--identity", type=int, required=True, help="The first of some that nobody uses.")
@click.option("--host-ip", required=True, help="Tunnel endpoint that the entries name.")
@click.option("--network", required=True, help="The first three bytes of the addresses.")
@click.option("--rate", type=int, default=300, show_default=True, help="Changes a second.")
def main(endpoint: str, rate: int, **world: str | int) -> None:
    """Change entries until standard input ends."""
    asyncio.run(_run(endpoint, rate, Changes(**world)))


class Changes:
    """What to write next; each key has another value, or none, every time it comes round."""

    def __init__(self, *, cluster: str, cluster_id: int, identity: int, host_ip: str, network: str) -> None:
        self._cluster = ClusterName(cluster)
        self._id = ClusterID(cluster_id)
        self._first = identity
        self._host_ip = host_ip
        self._network = network

    def __iter__(self) -> Iterator[Pair]:
        for turn in count():
            yield self._address(turn)
            yield self._address(turn + ADDRESSES // 2)
            yield self._service(turn) if turn % 3 else self._identity(turn // 3)

    def _address(self, turn: int) -> Pair:
        ip = f"{self._network}.{100 + turn % ADDRESSES}"
        number = Identity(self._first + turn * 7 % NUMBERS)
        suffix, value = ipcache.encode(IPEntry(ip=ip, mask=None, identity=number, host_ip=self._host_ip))
        return self._pair(Kind.IPS, suffix, value, keep=turn // ADDRESSES % 3 != 1)

    def _identity(self, turn: int) -> Pair:
        found = pod_labels(
            {"app": SERVICE, "turn": str(turn % (2 * NUMBERS))},
            namespace="default",
            namespace_labels={},
            service_account="default",
            cluster=self._cluster,
        )
        number = Identity(self._first + turn % NUMBERS)
        suffix, value = identity.encode(SecurityIdentity(number, found))
        return self._pair(Kind.IDENTITIES, suffix, value, keep=turn // NUMBERS % 2 == 0)

    def _service(self, turn: int) -> Pair:
        ports = {"http": Port("TCP", 8080)}
        backends = {
            f"{self._network}.{100 + (turn * 3 + i) % ADDRESSES}": ports for i in range(turn % BACKENDS)
        }
        told = GlobalService(self._cluster, "default", SERVICE, {}, backends, cluster_id=self._id)
        return self._pair(Kind.SERVICES, *service.encode(told), keep=turn % 50 != 1)

    def _pair(self, kind: Kind, suffix: str, value: bytes, *, keep: bool) -> Pair:
        return state_prefix(kind, self._cluster) + suffix.encode(), value if keep else None


async def _run(endpoint: str, rate: int, changes: Changes) -> None:
    async with connect(EtcdConfig(endpoints=(endpoint,))) as etcd, asyncio.TaskGroup() as group:
        ended = group.create_task(asyncio.to_thread(sys.stdin.read), name="stdin")
        written: set[bytes] = set()
        begun, done = time.monotonic(), 0
        for pair in changes:
            if ended.done():
                break
            await _write(etcd, pair)
            written.add(pair[0])
            if not done:
                _say("begun")
            done += 1
            ahead = done / rate - (time.monotonic() - begun)
            if ahead > ROUND_SECONDS:
                await asyncio.sleep(ahead)
        _say(f"{done / (time.monotonic() - begun):.0f}")
        for key in written:
            await etcd.delete(key)


async def _write(etcd: EtcdBackend, pair: Pair) -> None:
    key, value = pair
    if value is None:
        await etcd.delete(key)
    else:
        await etcd.put(key, value)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
