"""Whatever the order of words from a peer and of stores of ours: the last store wants what the peer has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.kvstoremesh.reflector import Reflector
from kvstore.digest import digest
from kvstore.watch import Delta
from mesh.keys import Kind

KEYS = st.binary(min_size=1, max_size=2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=3)),
        st.tuples(st.just("remove"), KEYS, st.just(b"")),
        st.tuples(
            st.sampled_from(["attach", "detach", "listed", "revoke", "drain"]), st.just(b""), st.just(b"")
        ),
    )
)


class Wanted:
    """A store that only remembers what it was asked."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.is_listed = False

    def upsert(self, suffix: bytes, value: bytes) -> None:
        self.values[suffix] = value

    def remove(self, suffix: bytes) -> None:
        del self.values[suffix]

    def mark_listed(self) -> None:
        self.is_listed = True


@given(STEPS)
def test_a_store_wants_what_the_peer_has_whenever_it_came(steps: list[tuple[str, bytes, bytes]]) -> None:
    reflector = Reflector(Kind.IPS, "west")
    store: Wanted | None = None
    peer: dict[bytes, bytes] = {}
    for step, key, value in steps:
        match step:
            case "put":
                reflector.apply(Delta(upserts=[(key, value)]))
                peer[key] = value
            case "remove":
                reflector.apply(Delta(removes=[key]))
                peer.pop(key, None)
            case "attach":
                store = Wanted()
                reflector.attach(store)
                assert store.is_listed == reflector.is_listed
            case "detach":
                store = None
                reflector.attach(None)
            case "listed":
                reflector.listed()
            case "revoke":
                reflector.revoke()
                peer.clear()
            case _:
                reflector.drain()
                peer.clear()
                assert not reflector.is_listed
        assert dict(reflector.held) == peer
        if store is not None:
            assert store.values == peer
    assert reflector.digest == digest(peer)
