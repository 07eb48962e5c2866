"""Echoes of real addresses in a namespace: one that answers, one that is silent, one that has no way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backendhealth import Answer
from agent.backendprobing import asked
from agent.icmpecho import is_reply, request
from agent.ipcache import IPCacheEntry, Level, Rank, host_prefix
from aiokit.wait import eventually
from mesh.addressing import ClusterID
from mesh.localservice import Frontend, LocalService
from mesh.matching import ServicePort
from mesh.service import GlobalService, Port
from tests.agent import test_backendprobing
from tests.agent.nodespace import namespace
from tests.bpf.world import ip, within

ALIVE, SILENT, NO_WAY = ("192.0.2.1", "fd00::1"), ("192.0.2.9", "fd00::9"), ("192.0.2.8", "fd00::8")
NOWHERE = ("203.0.113.1", "2001:db8::1")


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """A device that nobody is behind: what it sends is lost."""
    with namespace("echo") as name:
        ip("link", "add", "void", "type", "veth", "peer", "name", "end", namespace=name)
        for link in ("void", "end"):
            ip("link", "set", link, "up", namespace=name)
        for address, length, silent, unreachable in zip(ALIVE, (24, 64), SILENT, NO_WAY, strict=True):
            ip("addr", "add", f"{address}/{length}", "dev", "void", "nodad", namespace=name)
            ip("neigh", "add", silent, "lladdr", "02:00:00:00:00:99", "dev", "void", namespace=name)
            ip("route", "add", "unreachable", unreachable, namespace=name)
        yield name


@pytest.mark.root
@pytest.mark.parametrize(
    ("addresses", "answer"),
    [(ALIVE, Answer.OPEN), (SILENT, Answer.SILENT), (NO_WAY, Answer.SILENT), (NOWHERE, Answer.NONE)],
)
def test_what_an_echo_comes_to(place: str, addresses: tuple[str, str], answer: Answer) -> None:
    for address in addresses:
        assert within(place, lambda address=address: asyncio.run(asked(address, 0, 0.2))) is answer


@pytest.mark.root
def test_a_backend_without_tcp_is_withdrawn_when_its_address_is_silent(place: str) -> None:
    front = Frontend("172.20.1.5", 53, "UDP")

    async def work() -> None:
        made, lost = test_backendprobing.tables(port=1), set[str]()
        ports = (ServicePort("dns", "UDP", 53),)
        said = {"service.cilium.io/global": "true"}
        made.services.set_local("shop/dns", LocalService("shop", "dns", said, (front.ip,), ports))
        told = {each: {"dns": Port("UDP", 53)} for each in (ALIVE[0], SILENT[0])}
        entry = IPCacheEntry(131073, "192.0.2.2")
        for each in told:
            made.ipcache.upsert(host_prefix(each), Rank(Level.PEER_ENDPOINT, "west"), entry)
        service = GlobalService("west", "shop", "dns", {}, told, cluster_id=ClusterID(2))
        made.services.set_remote("west", "shop/dns", service)

        def used() -> set[str]:
            return {backend.ip for backend in made.services.wanted.entries[front]}

        async with test_backendprobing.probing(made, lost):
            assert used() == {ALIVE[0], SILENT[0]}
            lost.add("west")
            await eventually(lambda: used() == {ALIVE[0]})
            lost.clear()
            await eventually(lambda: used() == {ALIVE[0], SILENT[0]})

    within(place, lambda: asyncio.run(work()))


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_only_the_answer_to_ones_own_question_counts(own: int, other: int) -> None:
    for version, header, kind in ((4, bytes([0x46]) + bytes(23), 0), (6, b"", 129)):
        asked_for = request(version, own)
        assert not is_reply(version, header + asked_for, own)
        answer = header + bytes([kind]) + asked_for[1:]
        assert is_reply(version, answer, own)
        assert is_reply(version, answer, other) == (own == other)
        assert not any(is_reply(version, answer[:length], own) for length in range(len(answer)))


@given(st.integers(0, 0xFFFF))
def test_a_question_of_ipv4_sums_up(identifier: int) -> None:
    whole = request(4, identifier)
    total = sum(int.from_bytes(whole[at : at + 2]) for at in range(0, len(whole), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
    assert len(whole) == len(request(6, identifier)) == 8
