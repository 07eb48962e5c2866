"""What one cluster has to say: a scripted Kubernetes, as pairs, and everything it ever said.

It outlives its writer. Some entries are stable: a history changes them but never takes them away, so that
any removal of them is somebody's fault. Bad values are what a buggy or malicious writer would publish.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

from agent.ipcache import IPCacheEntry
from clustermesh_apiserver.exporter import Exporter, Source
from clustermesh_apiserver.object_export import Exported
from k8s.watch import ObjectDelta
from mesh import identity, ipcache, node, service
from mesh.addressing import ClusterID, Identity, IdentityLayout
from mesh.ipcache import IPEntry
from mesh.keys import Kind
from mesh.node import Node, NodeAddress
from mesh.service import GlobalService, Port
from tests.agent.values import labels

KINDS = (Kind.NODES, Kind.IDENTITIES, Kind.IPS, Kind.SERVICES)
LAYOUT = IdentityLayout(255)
SERVICE = "shop/web"
STABLE, VOLATILE = 2, 4  # how many addresses, identities: the first ones are stable
Key = tuple[Kind, bytes]


class ClusterSource:
    """`number` fixes the cluster's addresses for good; `id` is the cluster id, which may change."""

    def __init__(self, name: str, number: int, chance: Random, *, cluster_id: int | None = None) -> None:
        self.name = name
        self.number = number
        self.id = cluster_id or number
        self.spoken: dict[str, set[IPCacheEntry]] = {}  # prefix -> everything ever said of it
        self.good: dict[Key, bytes] = {}
        self.bad: dict[Key, bytes] = {}
        self.ever_bad = False  # then some reader may know no good value of some key
        self.changed_at = 0.0
        self.ips: dict[int, tuple[int, int]] = {}  # index -> (identity index, node index)
        self._versions: dict[int, int] = {}
        self._chance = chance
        self._streams: dict[Kind, list[asyncio.Queue[ObjectDelta[Any]]]] = {kind: [] for kind in KINDS}
        self.reset()

    # what there is

    def ip(self, index: int) -> str:
        return f"10.{self.number}.{1 + index % 2}.{10 + index}"

    def node_ip(self, index: int) -> str:
        return f"198.18.{self.number}.{11 + index}"

    def identity(self, index: int) -> Identity:
        return Identity(LAYOUT.minimum(self.id) + 7 + index)

    def stable_prefixes(self) -> set[str]:
        addresses = [self.ip(i) for i in range(STABLE)] + [self.node_ip(0), f"10.{self.number}.1.1"]
        return {f"{address}/32" for address in addresses}

    def owns(self, prefix: str) -> bool:
        return prefix.startswith((f"10.{self.number}.", f"198.18.{self.number}."))

    def backends(self) -> set[str]:
        """What the service says, which may be older than the addresses."""
        value = self.good.get((Kind.SERVICES, SERVICE.encode()))
        return set(service.decode(SERVICE, value).backends) if value else set()

    def reset(self) -> None:
        """Say everything, under the present cluster id."""
        for index in range(2):
            self._say_node(index)
        for index in range(STABLE + 2):
            self.say_identity(index % 2)
            self.say_ip(index, index % 2, 0)
        self.say_service()

    def change_id(self, cluster_id: int) -> None:
        self.id = cluster_id
        addresses = {self.ip(index).encode() for index in self.ips}
        claims = [key for key in self.good if key[0] is Kind.IPS and key[1] not in addresses]
        stale = [key for key in self.good if key[0] is Kind.IDENTITIES] + claims + list(self.bad)
        for kind, key in stale:
            self._set(kind, key, None)
        for index in range(2):
            self._say_node(index)
        for index, (identity_index, node_index) in list(self.ips.items()):
            self.say_identity(identity_index)
            self.say_ip(index, identity_index, node_index)
        self.say_service()

    def _say_node(self, index: int) -> None:
        addresses = (
            NodeAddress("InternalIP", self.node_ip(index)),
            NodeAddress("CiliumInternalIP", f"10.{self.number}.{1 + index}.1"),
        )
        value = Node(
            f"node-{index}", self.name, ClusterID(self.id), addresses, f"10.{self.number}.{1 + index}.0/24"
        )
        self._admit(f"{self.node_ip(index)}/32", IPCacheEntry(6, None))
        self._admit(f"10.{self.number}.{1 + index}.1/32", IPCacheEntry(6, self.node_ip(index)))
        self._say(Kind.NODES, node.encode(value))

    def say_identity(self, index: int) -> None:
        value = identity.SecurityIdentity(self.identity(index), labels(f"app-{index}", self.name))
        self._say(Kind.IDENTITIES, identity.encode(value))

    def say_ip(self, index: int, identity_index: int, node_index: int) -> None:
        self.ips[index] = (identity_index, node_index)
        self._versions[index] = self._versions.get(index, 0) + 1
        host = self.node_ip(node_index)
        entry = IPEntry(
            self.ip(index),
            None,
            self.identity(identity_index),
            host,
            0,
            "shop",
            f"pod-{self._versions[index]}",
        )
        self._admit(f"{self.ip(index)}/32", IPCacheEntry(int(entry.identity), host))
        self._say(Kind.IPS, ipcache.encode(entry))

    def forget_ip(self, index: int) -> None:
        if index in self.ips:
            del self.ips[index]
            self._set(Kind.IPS, self.ip(index).encode(), None)

    def say_service(self) -> None:
        ports = {"http": Port("TCP", 8080)}
        backends = {self.ip(index): ports for index in sorted(self.ips)}
        value = GlobalService(
            self.name, "shop", "web", {}, backends, include_external=True, cluster_id=ClusterID(self.id)
        )
        self._say(Kind.SERVICES, service.encode(value))

    def claim(self, address: str) -> None:
        """A claim that is well-formed, and heard, but is not ours to make."""
        self._say(Kind.IPS, ipcache.encode(IPEntry(address, None, self.identity(0), self.node_ip(0))))

    def say_badly(self, kind: Kind, key: bytes, value: bytes) -> None:
        """What no reader may take. Over a good value: that one is still what counts."""
        self.bad[(kind, key)] = value
        self.ever_bad = True
        self._set(kind, key, value, good=False)

    def mend(self) -> None:
        """Bad values over good ones are put right; bad keys of their own stay to the end."""
        for (kind, key), _ in sorted(self.bad.items(), key=repr):
            if (kind, key) in self.good:
                del self.bad[(kind, key)]
                self._set(kind, key, self.good[(kind, key)])

    def pairs(self, kind: Kind) -> dict[bytes, bytes]:
        whole = {**self.good, **self.bad}
        return {key: value for (of, key), value in whole.items() if of is kind}

    def said(self, kind: Kind) -> dict[bytes, bytes]:
        """What a reader must hold in the end."""
        return {key: value for (of, key), value in self.good.items() if of is kind}

    # saying it

    def _say(self, kind: Kind, pair: tuple[str, bytes]) -> None:
        self._set(kind, pair[0].encode(), pair[1])

    def _admit(self, prefix: str, entry: IPCacheEntry) -> None:
        self.spoken.setdefault(prefix, set()).add(entry)

    def _set(self, kind: Kind, key: bytes, value: bytes | None, *, good: bool = True) -> None:
        if good:
            self.bad.pop((kind, key), None)
            if value is None:
                self.good.pop((kind, key), None)
            else:
                self.good[(kind, key)] = value
        for stream in self._streams[kind]:
            name = key.decode("utf-8", "replace")
            stream.put_nowait(ObjectDelta(removes={name}) if value is None else ObjectDelta({name: value}))
            self.changed_at = asyncio.get_running_loop().time()

    # being followed

    def exporters(self) -> list[Exporter]:
        return [self._exporter(kind) for kind in KINDS]

    def _exporter(self, kind: Kind) -> Exporter:
        export = _Export()
        return Exporter(kind, export, [Source(kind.value, self._follower(kind), export.apply)])

    def _follower(self, kind: Kind) -> Callable[[], AsyncIterator[ObjectDelta[Any]]]:
        async def follow() -> AsyncIterator[ObjectDelta[Any]]:
            await asyncio.sleep(self._chance.choice((0.0, 0.1, 5.0)))  # Kubernetes takes its time to list
            stream: asyncio.Queue[ObjectDelta[Any]] = asyncio.Queue()
            self._streams[kind].append(stream)
            try:
                listed: Any = {
                    key.decode("utf-8", "replace"): value for key, value in self.pairs(kind).items()
                }
                yield ObjectDelta(listed, synced=True)
                while True:
                    yield await stream.get()
            finally:
                self._streams[kind].remove(stream)

        return follow


class _Export:
    """Pairs as they are: how they come from objects is tested where that is done."""

    def __init__(self) -> None:
        self._pairs: dict[bytes, bytes] = {}

    def pairs(self) -> dict[bytes, bytes]:
        return dict(self._pairs)

    def refused(self) -> int:
        return 0

    def apply(self, delta: ObjectDelta[Any]) -> Exported:
        upserts = {name.encode(): value for name, value in delta.upserts.items()}
        removes = [name.encode() for name in sorted(delta.removes)]
        self._pairs.update(upserts)
        for key in removes:
            self._pairs.pop(key, None)
        return Exported({**upserts, **dict.fromkeys(removes)})
