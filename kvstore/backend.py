"""The narrow protocols that users of a key-value store ask for.

Keys and values are bytes: this package does not know what they mean. `kvstore.etcd.EtcdBackend`
and `kvstore.memory.MemoryBackend` both satisfy these protocols and pass the same contract tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from kvstore.watch import Event


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One stored pair. `lease` is 0 when the key has none."""

    key: bytes
    value: bytes
    mod_revision: int
    lease: int


@dataclass(frozen=True, slots=True)
class PutOp:
    """Write `value` under `key`, bound to `lease` (0: none)."""

    key: bytes
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class DeleteOp:
    """Delete `key`, or the range [key, range_end) when `range_end` is given."""

    key: bytes
    range_end: bytes = b""


Op = PutOp | DeleteOp


@dataclass(frozen=True, slots=True)
class ModRevisionIs:
    """Transaction guard: the key's mod_revision equals `revision` (0: the key is absent)."""

    key: bytes
    revision: int


class Readable(Protocol):
    @property
    def cluster_id(self) -> int:
        """Id of the etcd cluster behind this connection; 0 until the first answer."""

    async def get(self, key: bytes) -> KeyValue | None:
        """Read one key; None when it is absent. Raises KVStoreError."""

    async def get_prefix(self, prefix: bytes) -> list[KeyValue]:
        """Read all keys that begin with `prefix`, ascending, at one revision. Raises KVStoreError."""

    def listwatch(
        self, prefix: bytes, *, single: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """List everything under `prefix` at one revision, then watch from the next one.

        `single` means exactly the key `prefix`: some keys are only readable one by one.

        Yields Listing (one or more chunks), Listed, then Changes for ever. The keys in events are
        whole keys. Any break ends the iteration with a KVStoreError; the caller lists again.
        """


class Writable(Protocol):
    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> None:
        """Write one key. Raises LeaseLostError when the lease is gone, KVStoreError otherwise."""

    async def delete(self, key: bytes) -> bool:
        """Delete one key; True when it existed."""

    async def delete_prefix(self, prefix: bytes) -> int:
        """Delete all keys that begin with `prefix`; how many."""

    async def txn(self, ops: Sequence[Op], guards: Sequence[ModRevisionIs] = ()) -> bool:
        """Apply all `ops` atomically when every guard holds; whether they were applied.

        At most 128 operations (etcd's default limit).
        """


class Leased(Protocol):
    async def lease_grant(self, ttl_seconds: int) -> int:
        """A new lease's id."""

    async def lease_keepalive(self, lease: int) -> int:
        """Refresh once; the remaining seconds. Raises LeaseLostError when it is gone."""

    async def lease_revoke(self, lease: int) -> None:
        """End the lease and delete its keys; revoking an absent lease is no error."""


class Backend(Readable, Writable, Leased, Protocol):
    """All of it: what exporters and KVStoreMesh need of their own etcd."""
