"""Probes are asked from the node's network and decide as Kubernetes' do."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import echo, netns, network
from lab.errors import PodConfigError
from lab.manifest import Container, Probe
from lab.node import readiness
from lab.node.readiness import Streak
from lab.plan import LabPlan

CONTAINER = msgspec.convert({"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}, Container)


def probe(**fields: object) -> Probe:
    return msgspec.convert(fields, Probe)


@given(st.lists(st.booleans()), st.integers(1, 4))
def test_a_success_makes_ready_and_only_enough_failures_in_a_row_undo_it(
    answers: list[bool], threshold: int
) -> None:
    each, streak = probe(failureThreshold=threshold), Streak()
    for number, answer in enumerate(answers):
        streak = streak.after(answer, each)
        recent = answers[max(0, number - threshold + 1) : number + 1]
        assert streak.is_ready == (any(answers[: number + 1]) and any(recent))


def test_asking_is_eager_until_the_first_success() -> None:
    each = probe(periodSeconds=10)
    assert Streak().pause_seconds(each) < 1
    assert Streak(is_ready=True).pause_seconds(each) == 10


async def test_http_and_tcp_are_asked_inside_the_nodes_network(lab: LabPlan) -> None:
    network.build(lab)
    node = lab.nodes[1]
    listening = netns.tcp_socket(node.namespace)
    listening.bind((str(node.ip), 8080))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await echo.converse(reader, writer, {})

    server = await asyncio.start_server(handle, sock=listening)
    try:
        for each in (probe(httpGet={"port": "http"}), probe(tcpSocket={"port": 8080})):
            assert await readiness.ask(each, CONTAINER, str(node.ip), node.namespace)
            assert not await readiness.ask(each, CONTAINER, str(node.ip), lab.fabric)
    finally:
        server.close()
        await server.wait_closed()


async def test_nobody_there_and_no_http_are_not_ready(lab: LabPlan) -> None:
    network.build(lab)
    node = lab.nodes[1]
    for each in (probe(httpGet={"port": 1}), probe(tcpSocket={"port": 1})):
        assert not await readiness.ask(each, CONTAINER, str(node.ip), node.namespace)
    assert await readiness.ask(probe(exec={"command": ["x"]}), CONTAINER, str(node.ip), node.namespace)


def test_a_port_without_a_number_is_an_error() -> None:
    assert readiness.port_of(CONTAINER, "http") == 8080
    assert readiness.port_of(CONTAINER, "81") == 81
    with pytest.raises(PodConfigError, match="'grpc'"):
        readiness.port_of(CONTAINER, "grpc")
