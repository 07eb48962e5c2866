"""What a client may do, and that no request can be worded so that it gets more.

The model below says independently what a remote client may see and what etcd selects for a request.
"""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.proxy.authz import NOTHING, Allow, Refuse, Role, RoleKind, admit, role_of
from clustermesh_apiserver.proxy.method import ALARM, MEMBER_LIST, METHODS, RANGE, STATUS, WATCH
from clustermesh_apiserver.proxy.sight import Sight
from kvstore import messages as m
from mesh.keys import Kind, state_prefix

REMOTE = role_of(["remote"], "east")
PREFIXES = {
    "remote": (b"cilium/.heartbeat", b"cilium/state/", b"cilium/synced/east/"),
    "local-east": (b"cilium/.heartbeat", b"cilium/cache/", b"cilium/cluster-config/", b"cilium/synced/"),
}
SINGLE = {"remote": (b"cilium/cluster-config/east",), "local-east": ()}
INTERESTING = [
    *(
        b"",
        b"\0",
        b"\0\0",
        b"\xff",
        b"cilium/",
        b"cilium0",
        b"cilium/state",
        b"cilium/state0",
        b"cilium/state/",
    ),
    *(b"cilium/.heartbeat", b"cilium/.heartbeau", b"cilium/.heartbeat\0", b"cilium/cluster-config/"),
    *(b"cilium/cluster-config/east", b"cilium/cluster-config/east\0", b"cilium/cluster-config/east2"),
    *(b"cilium/cluster-config/eas", b"cilium/synced/east", b"cilium/synced/east/", b"cilium/synced/east0"),
    *(b"cilium/cache/", b"cilium/cache0", b"cilium/synced/", b"cilium/synced0", b"cilium/cluster-config0"),
]
KEYS = st.one_of(
    st.sampled_from(INTERESTING),
    st.builds(lambda key, tail: key + tail, st.sampled_from(INTERESTING), st.binary(max_size=3)),
    st.binary(max_size=24),
)
PATHS = st.sampled_from(sorted(METHODS))
NAMES = st.sampled_from(["remote", "remote-west", "local-east"])


def may_read(name: str, key: bytes) -> bool:
    """The contract, in other words than the code's."""
    role = "remote" if name.startswith("remote") else name
    return key.startswith(PREFIXES[role]) or key in SINGLE[role]


def selects(key: bytes, range_end: bytes, candidate: bytes) -> bool:
    """Whether etcd answers (key, range_end) with a stored `candidate`; no key means from 0 for a watch."""
    start = key or b"\0"
    if range_end == b"":
        return candidate == start
    return start <= candidate and (range_end == b"\0" or candidate < range_end)


@given(NAMES, KEYS, KEYS, KEYS)
def test_no_range_reads_outside_the_grant(name: str, key: bytes, end: bytes, candidate: bytes) -> None:
    request = m.RangeRequest(key=key, range_end=end).SerializeToString()
    if isinstance(admit(role_of([name], "east"), RANGE.path, request), Allow):
        assert not selects(key, end, candidate) or may_read(name, candidate)


@given(NAMES, KEYS, KEYS, KEYS)
def test_no_watch_sees_outside_the_grant(name: str, key: bytes, end: bytes, candidate: bytes) -> None:
    create = m.WatchCreateRequest(key=key, range_end=end, start_revision=1, prev_kv=True)
    request = m.WatchRequest(create_request=create).SerializeToString()
    if isinstance(admit(role_of([name], "east"), WATCH.path, request), Allow):
        assert not selects(key, end, candidate) or may_read(name, candidate)


@given(NAMES, KEYS)
def test_every_key_of_the_grant_can_be_read_by_itself(name: str, key: bytes) -> None:
    verdict = admit(role_of([name], "east"), RANGE.path, m.RangeRequest(key=key).SerializeToString())
    assert isinstance(verdict, Allow) == may_read(name, key)


@pytest.mark.parametrize("name", sorted(PREFIXES))
def test_every_prefix_of_the_grant_can_be_listed_in_pages(name: str) -> None:
    for prefix in PREFIXES[name]:
        end = prefix[:-1] + bytes([prefix[-1] + 1])
        for start in (prefix, prefix + b"last key\0"):
            request = m.RangeRequest(key=start, range_end=end, limit=256).SerializeToString()
            assert admit(role_of([name], "east"), RANGE.path, request) == Allow(request)


@given(NAMES, PATHS, st.binary(max_size=64))
def test_nothing_that_is_allowed_changes_anything(name: str, path: str, request: bytes) -> None:
    verdict = admit(role_of([name], "east"), path, request)
    if isinstance(verdict, Allow):
        assert path in {RANGE.path, WATCH.path, STATUS.path, MEMBER_LIST.path, ALARM.path}
        if path == ALARM.path:
            assert m.AlarmRequest.FromString(verdict.request).action == m.AlarmRequest.GET


@given(
    NAMES,
    st.sampled_from([RANGE, WATCH]),
    st.lists(st.binary(max_size=40), min_size=1, max_size=4),
    KEYS,
    KEYS,
)
def test_what_is_sent_on_means_the_same_to_every_decoder(
    name: str, method: object, noise: list[bytes], key: bytes, end: bytes
) -> None:
    """Doubled and unknown fields are gone: encoding the decoded request again gives the same bytes."""
    assert method in (RANGE, WATCH)
    kind: type[Message] = m.RangeRequest if method is RANGE else m.WatchRequest
    parts = [request(method is WATCH, key, end), request(method is WATCH, b"", end), *noise]
    verdict = admit(role_of([name], "east"), RANGE.path if method is RANGE else WATCH.path, b"".join(parts))
    if isinstance(verdict, Allow):
        again = kind.FromString(verdict.request)
        again.DiscardUnknownFields()
        assert again.SerializeToString() == verdict.request


def request(is_watch: bool, key: bytes, end: bytes) -> bytes:
    if is_watch:
        create = m.WatchCreateRequest(key=key, range_end=end)
        return m.WatchRequest(create_request=create).SerializeToString()
    return m.RangeRequest(key=key, range_end=end).SerializeToString()


@given(
    NAMES,
    st.booleans(),
    st.lists(st.one_of(st.binary(max_size=12), KEYS), max_size=3),
    st.tuples(KEYS, KEYS),
    KEYS,
)
def test_however_a_request_is_put_together_what_is_sent_on_selects_only_what_is_granted(
    name: str, is_watch: bool, noise: list[bytes], asked: tuple[bytes, bytes], candidate: bytes
) -> None:
    """Fields doubled, in pieces, out of order, with anything in between: etcd gets what was judged."""
    key, end = asked
    parts = [request(is_watch, key, b""), *noise, request(is_watch, b"", end), request(is_watch, key, end)]
    path, kind = (WATCH.path, m.WatchRequest) if is_watch else (RANGE.path, m.RangeRequest)
    verdict = admit(role_of([name], "east"), path, b"".join(parts))
    if not isinstance(verdict, Allow):
        return
    sent: Any = kind.FromString(verdict.request)
    if is_watch and not sent.HasField("create_request"):
        return
    read = sent.create_request if is_watch else sent
    assert not selects(read.key, read.range_end, candidate) or may_read(name, candidate)


def test_a_doubled_create_request_cannot_smuggle_an_open_start() -> None:
    """etcd keeps only the second of two create requests, which alone would watch from the first key on."""
    first = m.WatchRequest(create_request=m.WatchCreateRequest(key=b"cilium/state/a")).SerializeToString()
    second = m.WatchRequest(
        create_request=m.WatchCreateRequest(range_end=b"cilium/state/z")
    ).SerializeToString()
    verdict = admit(REMOTE, WATCH.path, first + second)
    assert isinstance(verdict, Allow)
    assert verdict.request != first + second
    sent = m.WatchRequest.FromString(verdict.request)
    assert verdict.request.count(b"cilium/state/") == 2
    assert sent.create_request.key == b"cilium/state/a"


def test_the_key_alone_is_granted_where_the_contract_names_one_key() -> None:
    config = b"cilium/cluster-config/east"
    one = m.RangeRequest(key=config).SerializeToString()
    exact = m.RangeRequest(key=config, range_end=config + b"\0").SerializeToString()
    prefix = m.RangeRequest(key=config, range_end=b"cilium/cluster-config/easu").SerializeToString()
    assert admit(REMOTE, RANGE.path, one) == Allow(one)
    assert admit(REMOTE, RANGE.path, exact) == Allow(exact)
    assert admit(REMOTE, RANGE.path, prefix) == Refuse("range", f"{config!r}..b'cilium/cluster-config/easu'")


def test_what_we_do_not_know_of_a_request_is_not_sent_on() -> None:
    """A later etcd may read a field that we cannot judge."""
    known = m.RangeRequest(key=b"cilium/state/a").SerializeToString()
    assert admit(REMOTE, RANGE.path, known + b"\xf8\x07\x01") == Allow(known)


@pytest.mark.parametrize(
    ("key", "end"),
    [
        (b"cilium/state/b", b"cilium/state/a"),
        (b"cilium/state/a", b"cilium/state/a"),
        (b"zzz", b"cilium/state/a"),
        (b"cilium/state/", b"\0"),
        (b"", b"\0"),
    ],
)
def test_a_range_that_selects_nothing_or_has_no_end_is_refused(key: bytes, end: bytes) -> None:
    request = m.RangeRequest(key=key, range_end=end).SerializeToString()
    assert isinstance(admit(REMOTE, RANGE.path, request), Refuse)


def test_alarms_may_be_asked_for_but_not_raised_or_cleared() -> None:
    allowed = {
        action
        for action in (m.AlarmRequest.GET, m.AlarmRequest.ACTIVATE, m.AlarmRequest.DEACTIVATE)
        if isinstance(admit(REMOTE, ALARM.path, m.AlarmRequest(action=action).SerializeToString()), Allow)
    }
    assert allowed == {m.AlarmRequest.GET}


@pytest.mark.parametrize("path", sorted(set(METHODS) - {RANGE.path, WATCH.path}))
def test_of_the_other_methods_only_questions_about_etcd_itself_are_allowed(path: str) -> None:
    is_allowed = isinstance(admit(REMOTE, path, b""), Allow)
    assert is_allowed == (path in {STATUS.path, MEMBER_LIST.path, ALARM.path})


def test_watches_of_the_stream_may_be_cancelled_and_asked_for_progress() -> None:
    for message in (
        m.WatchRequest(cancel_request=m.WatchCancelRequest(watch_id=3)),
        m.WatchRequest(progress_request=m.WatchProgressRequest()),
    ):
        raw = message.SerializeToString()
        assert admit(REMOTE, WATCH.path, raw) == Allow(raw)


@pytest.mark.parametrize(
    "path", ["", "/", "/etcdserverpb.Auth/AuthDisable", "/etcdserverpb.Maintenance/Snapshot"]
)
@pytest.mark.parametrize("name", ["remote", "local-east", "admin-east", "nobody"])
def test_a_method_that_is_not_listed_passes_for_nobody(name: str, path: str) -> None:
    assert isinstance(admit(role_of([name], "east"), path, b""), Refuse)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["admin-east"], RoleKind.ADMIN),
        (["local-east"], RoleKind.LOCAL),
        (["remote"], RoleKind.REMOTE),
        (["remote-west"], RoleKind.REMOTE),
        (["admin-west"], RoleKind.UNKNOWN),
        (["local-west"], RoleKind.UNKNOWN),
        (["root"], RoleKind.UNKNOWN),
        (["remote-"], RoleKind.UNKNOWN),
        (["remote-West"], RoleKind.UNKNOWN),
        (["remote\n"], RoleKind.UNKNOWN),
        ([f"remote-{'w' * 33}"], RoleKind.UNKNOWN),
        ([], RoleKind.UNKNOWN),
        (["remote", "admin-east"], RoleKind.UNKNOWN),
    ],
)
def test_the_common_name_decides_the_role(names: list[str], kind: RoleKind) -> None:
    assert role_of(names, "east").kind is kind


def test_a_client_without_a_role_gets_nothing() -> None:
    assert all(isinstance(admit(Role(RoleKind.UNKNOWN, ""), path, b""), Refuse) for path in METHODS)


KIND_SETS = st.frozensets(st.sampled_from(Kind))
STATE_KEYS = [
    b"cilium/state/",
    b"cilium/state0",
    *(f"cilium/state/{kind.value}{end}".encode() for kind in Kind for end in ("", "/", "/v1/east/a/b", "0")),
    b"cilium/state/future/v1/east/x",
]
SEEN_KEYS = st.one_of(st.sampled_from(STATE_KEYS), st.sampled_from(INTERESTING), st.binary(max_size=24))


@given(KIND_SETS, st.booleans(), SEEN_KEYS, SEEN_KEYS, st.sampled_from([*STATE_KEYS, *INTERESTING]))
def test_what_is_sent_on_never_selects_a_hidden_kind(
    kinds: frozenset[Kind], is_watch: bool, key: bytes, end: bytes, candidate: bytes
) -> None:
    role = Sight({"remote-west": kinds}).role(role_of(["remote-west"], "east"))
    path, kind = (WATCH.path, m.WatchRequest) if is_watch else (RANGE.path, m.RangeRequest)
    verdict = admit(role, path, request(is_watch, key, end))
    if not isinstance(verdict, Allow):
        return
    sent: Any = kind.FromString(verdict.request)
    read = sent.create_request if is_watch else sent
    seen = tuple(f"cilium/state/{each.value}/".encode() for each in kinds)
    is_for_them = (
        not candidate.startswith(b"cilium/state/") or kinds == set(Kind) or candidate.startswith(seen)
    )
    assert not selects(read.key, read.range_end, candidate) or (may_read("remote", candidate) and is_for_them)
    assert verdict.hides == (read.key == NOTHING != key)


@given(KIND_SETS, st.sampled_from(Kind))
def test_every_kind_can_be_listed_and_followed_and_only_the_hidden_ones_look_empty(
    kinds: frozenset[Kind], kind: Kind
) -> None:
    role = Sight(default=kinds).role(role_of(["remote"], "east"))
    start = state_prefix(kind, "east")
    for is_watch, path in ((False, RANGE.path), (True, WATCH.path)):
        asked = request(is_watch, start, start[:-1] + b"0")
        verdict = admit(role, path, asked)
        assert isinstance(verdict, Allow)
        assert (verdict.request == asked, verdict.hides) == (kind in kinds, kind not in kinds)


def test_a_range_of_seen_and_hidden_kinds_is_refused() -> None:
    role = Sight(default=frozenset({Kind.IPS})).role(role_of(["remote"], "east"))
    whole = m.RangeRequest(key=b"cilium/state/", range_end=b"cilium/state0").SerializeToString()
    assert admit(role, RANGE.path, whole) == Refuse("range", "b'cilium/state/'..b'cilium/state0'")
