"""What can go wrong between us and an etcd, classed by what the caller can do about it."""


class KVStoreError(Exception):
    """Base of every error this package raises."""


class TransientError(KVStoreError):
    """The connection or the server failed; the same call may succeed later."""


class UnansweredError(TransientError):
    """A server is there and did not answer in time, or has no leader: perhaps it lost its quorum."""


class CompactedError(KVStoreError):
    """The history asked for is gone: list again and compare."""


class ClusterChangedError(KVStoreError):
    """An answer came from another etcd cluster than the one first seen: reconnect and list again."""


class LeaseLostError(KVStoreError):
    """The lease has expired or was revoked: its keys are gone and must be written again."""


class RefusedError(KVStoreError):
    """The server understood and said no (permission, bad request): retrying does not help."""
