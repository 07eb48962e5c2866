"""What ends a connection to a peer, beside what its etcd and its values can do wrong."""

from __future__ import annotations


class PeerError(Exception):
    """Base of every error this package raises. The connection is made anew."""


class SilentPeerError(PeerError):
    """A peer's heartbeat has stopped: reconnect."""


class PeerConfigChangedError(PeerError):
    """A peer's cluster configuration changed: reconnect and validate it again."""


class PeerConfigMissingError(PeerError):
    """A peer's etcd has no cluster configuration under the expected name."""


class PeerVanishedError(PeerError):
    """A peer's description, or a canary, went together with its entries: its writer ended, not its pods."""
