"""Which number a label set gets in the kvstore, and which numbers nobody uses any more. Pure.

Keys are Cilium's own of its kvstore mode (spec 2.2): a master key says what a number means and stays; a slave
key, leased, says that somebody uses it.
"""

from __future__ import annotations

from collections.abc import Mapping

from mesh.addressing import Identity, PeerScope

ROOT = b"cilium/state/identities/v1/"
MASTERS, SLAVES, LOCKS = ROOT + b"id/", ROOT + b"value/", ROOT + b"locks/"


def number_of(value: bytes, scope: PeerScope) -> Identity | None:
    """The number in a slave key's value or at a master key's end; None unless it is one of ours."""
    if not (value.isdigit() and len(value) <= 10):
        return None
    number = Identity(int(value))
    return number if scope.layout.minimum(scope.cluster_id) <= number and scope.owns(number) else None


def meant(masters: Mapping[bytes, bytes], text: str, scope: PeerScope) -> Identity | None:
    """The smallest number that means `text` already. `masters` have keys relative to MASTERS."""
    same = [number_of(key, scope) for key, value in masters.items() if value == text.encode()]
    return min((number for number in same if number is not None), default=None)


def user_of(slave: bytes) -> str:
    """The label set that a slave key, relative to SLAVES, is about: all but its last part."""
    return slave.rpartition(b"/")[0].decode(errors="replace")


def unused(masters: Mapping[bytes, bytes], slaves: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Master keys whose label set nobody uses at this moment."""
    used = {user_of(key) for key in slaves}
    return {key: value for key, value in masters.items() if value.decode(errors="replace") not in used}
