"""Who is let in by mode, list and revocation; and files that say it wrongly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.proxy.access import (
    Access,
    AccessError,
    AuthMode,
    Revoked,
    parse_revoked,
    parse_users,
)
from clustermesh_apiserver.proxy.authz import role_of

LISTED = frozenset({"remote-west"})
NAMES = ["remote", "remote-west", "remote-north", "local-east", "admin-east"]


@pytest.mark.parametrize(
    ("mode", "users", "let_in"),
    [
        (AuthMode.LEGACY, None, {"remote"}),
        (AuthMode.LEGACY, LISTED, {"remote"}),
        (AuthMode.MIGRATION, None, {"remote", "remote-west", "remote-north"}),
        (AuthMode.MIGRATION, LISTED, {"remote", "remote-west"}),
        (AuthMode.CLUSTER, LISTED, {"remote-west"}),
        (AuthMode.CLUSTER, frozenset(), set()),
    ],
)
def test_the_mode_and_the_list_decide_which_other_clusters_are_let_in(
    mode: AuthMode, users: frozenset[str] | None, let_in: set[str]
) -> None:
    access = Access(mode, users)
    found = {name for name in NAMES if not access.objection(role_of([name], "east"), 1)}
    assert found == let_in | {"local-east", "admin-east"}


@given(st.sampled_from(NAMES), st.sampled_from(list(AuthMode)), st.booleans())
def test_the_revoked_are_shut_out_whoever_they_are(name: str, mode: AuthMode, by_name: bool) -> None:
    revoked = Revoked(names=frozenset({name})) if by_name else Revoked(serials=frozenset({7}))
    role = role_of([name], "east")
    assert Access(mode, LISTED, revoked).objection(role, 7) == "revoked"
    if not by_name:
        assert Access(mode, LISTED, revoked).objection(role, 8) != "revoked"


def test_a_list_of_users_as_cilium_writes_it() -> None:
    text = b"users:\n- name: remote-west\n  role: remote\n- name: remote-north\n  role: remote\n"
    assert parse_users(text) == {"remote-west", "remote-north"}


@pytest.mark.parametrize("text", [b"", b"users:\n", b"users: []\n", b"{}"])
def test_an_empty_list_lets_nobody_in(text: bytes) -> None:
    assert parse_users(text) == frozenset()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"users:\n- name: remote-west\n  role: admin\n", "role"),
        (b"users:\n- name: remote-west\n", "role"),
        (b"users:\n- name: admin-east\n  role: remote\n", "admin-east"),
        (b"users:\n- name: remote-West\n  role: remote\n", "remote-West"),
        (b"user: []\n", "user"),
        (b"users: remote\n", "array"),
        (b"[", "parsing"),
        (b"\xff\xfe\x00", "truncated"),
        (b"- 1\n", "object"),
    ],
)
def test_a_list_that_says_something_else_is_an_error(text: bytes, said: str) -> None:
    with pytest.raises(AccessError, match=said):
        parse_users(text)


def test_the_revoked_by_name_and_by_serial_as_openssl_prints_it() -> None:
    text = b'revoked:\n- name: remote-west\n- serial: "3F:a0:01"\n- serial: "10"\n'
    assert parse_revoked(text) == Revoked(frozenset({"remote-west"}), frozenset({0x3FA001, 0x10}))
    assert parse_revoked(b"") == Revoked()


@pytest.mark.parametrize(
    "text",
    [
        b"revoked:\n- {}\n",
        b'revoked:\n- {name: a, serial: "1"}\n',
        b"revoked:\n- serial: 10\n",  # a number in YAML: decimal or not, nobody knows
        b'revoked:\n- serial: "xyz"\n',
        b"revoked:\n- cn: remote\n",
        b"denied: []\n",
    ],
)
def test_a_revocation_that_can_be_misread_is_an_error(text: bytes) -> None:
    with pytest.raises(AccessError):
        parse_revoked(text)
