"""Who speaks for a key that several Kubernetes objects claim. Pure.

Promises: a key has the value of the earliest of its living claimants; the others wait in line in the
order they came; the key goes only with its last claimant (spec 2.6). Does not decide what to claim.
"""

from __future__ import annotations

from collections.abc import Mapping

Changes = dict[bytes, bytes | None]  # None: the key is to be deleted


class Ownership:
    """Folds claims and releases into changes of the keys' values."""

    def __init__(self) -> None:
        self._lines: dict[bytes, dict[str, bytes]] = {}  # key -> claimant -> value, the first one speaks
        self._claims: dict[str, frozenset[bytes]] = {}  # claimant -> keys

    def pairs(self) -> dict[bytes, bytes]:
        """What should be stored now."""
        return {key: _spoken(line) for key, line in self._lines.items()}

    def contested(self) -> int:
        """How many keys have more than one claimant."""
        return sum(len(line) > 1 for line in self._lines.values())

    def claim(self, owner: str, pairs: Mapping[bytes, bytes]) -> Changes:
        """`owner` now claims exactly `pairs`; what it claimed before and no longer does is released."""
        before = self._claims.get(owner, frozenset())
        changes: Changes = {}
        for key in sorted(before - pairs.keys()):
            changes.update(self._leave(owner, key))
        for key, value in pairs.items():
            changes.update(self._join(owner, key, value))
        if pairs:
            self._claims[owner] = frozenset(pairs)
        else:
            self._claims.pop(owner, None)
        return changes

    def release(self, owner: str) -> Changes:
        return self.claim(owner, {})

    def _join(self, owner: str, key: bytes, value: bytes) -> Changes:
        line = self._lines.setdefault(key, {})
        spoken = _spoken(line) if line else None
        line[owner] = value  # a claimant that is already in line keeps its place
        return {key: _spoken(line)} if _spoken(line) != spoken else {}

    def _leave(self, owner: str, key: bytes) -> Changes:
        line = self._lines[key]
        spoken = _spoken(line)
        del line[owner]
        if not line:
            del self._lines[key]
            return {key: None}
        return {key: _spoken(line)} if _spoken(line) != spoken else {}


def _spoken(line: Mapping[str, bytes]) -> bytes:
    return next(iter(line.values()))
