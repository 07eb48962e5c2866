"""Who speaks for a key that several Kubernetes objects claim. Pure.

Promises: a key has the value of the oldest of its living claimants, and of the first by name among
equally old ones; the others wait in line; the key goes only with its last claimant (spec 2.6). Age, not
the order of arrival, decides, so that a restart and a second replica come to the same answer.
Does not decide what to claim.
"""

from __future__ import annotations

from collections.abc import Mapping

Changes = dict[bytes, bytes | None]  # None: the key is to be deleted
Claimant = tuple[str, str]  # since when (a Kubernetes creationTimestamp: sorts as text), name


class Ownership:
    """Folds claims and releases into changes of the keys' values."""

    def __init__(self) -> None:
        self._lines: dict[bytes, dict[Claimant, bytes]] = {}
        self._claims: dict[str, tuple[Claimant, frozenset[bytes]]] = {}  # by name

    def pairs(self) -> dict[bytes, bytes]:
        """What should be stored now."""
        return {key: _spoken(line) for key, line in self._lines.items()}

    def contested(self) -> int:
        """How many keys have more than one claimant."""
        return sum(len(line) > 1 for line in self._lines.values())

    def claim(self, owner: str, pairs: Mapping[bytes, bytes], since: str = "") -> Changes:
        """`owner` now claims exactly `pairs`; what it claimed before and no longer does is released."""
        claimant = (since, owner)
        former, keys = self._claims.get(owner, (claimant, frozenset[bytes]()))
        touched = keys | pairs.keys()
        before = {key: _spoken(line) for key in touched if (line := self._lines.get(key))}
        for key in keys:
            self._leave(former, key)
        for key, value in pairs.items():
            self._lines.setdefault(key, {})[claimant] = value
        if pairs:
            self._claims[owner] = (claimant, frozenset(pairs))
        else:
            self._claims.pop(owner, None)
        after = {key: _spoken(line) for key in touched if (line := self._lines.get(key))}
        return {key: after.get(key) for key in sorted(touched) if after.get(key) != before.get(key)}

    def release(self, owner: str) -> Changes:
        return self.claim(owner, {})

    def _leave(self, claimant: Claimant, key: bytes) -> None:
        line = self._lines[key]
        del line[claimant]
        if not line:
            del self._lines[key]


def _spoken(line: Mapping[Claimant, bytes]) -> bytes:
    return line[min(line)]
