"""What can be wrong with what a peer says."""

from __future__ import annotations


class MeshError(Exception):
    """Base of every error this package raises."""


class InvalidNameError(MeshError, ValueError):
    """A cluster name that no mesh accepts."""


class DecodeError(MeshError):
    """One entry is malformed, or claims what its writer may not claim. The others are not affected."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason


class IncompatibleClusterError(MeshError):
    """The cluster says of itself that it cannot be our peer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PolicyError(MeshError):
    """A policy object that cannot be read at all."""
