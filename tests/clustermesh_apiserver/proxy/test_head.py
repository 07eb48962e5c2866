"""Where etcd is: asked after the caller came, once for many, and errors reach all who asked."""

from __future__ import annotations

import asyncio

import grpc.aio
import pytest

from clustermesh_apiserver.proxy.head import HeadRevision, progress_is_exact
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.upstream import connect
from tests.clustermesh_apiserver.proxy.test_fanout import put_all
from tests.conftest import RunningEtcd


async def test_callers_at_the_same_time_share_questions_and_see_their_own_writes(etcd: RunningEtcd) -> None:
    async with connect(etcd.endpoint, Metrics()) as upstream:
        head = HeadRevision(upstream)
        headers = await asyncio.gather(*(head.ask() for _ in range(50)))
        assert {header.revision for header in headers} == {1}
        assert head.questions <= 2
        await put_all(etcd.endpoint, [b"1"])
        assert (await head.ask()).revision == 2
        assert head.newest.revision == 2


async def test_all_who_ask_hear_that_etcd_is_gone(etcd: RunningEtcd) -> None:
    async with connect(etcd.endpoint, Metrics()) as upstream:
        head = HeadRevision(upstream)
        etcd.stop()
        outcomes = await asyncio.gather(*(head.ask() for _ in range(10)), return_exceptions=True)
        assert all(isinstance(outcome, grpc.aio.AioRpcError) for outcome in outcomes)
        assert head.questions <= 2


@pytest.mark.parametrize(
    ("version", "is_exact"),
    [
        *(("3.4.23", False), ("3.4.25", True), ("3.5.1", False), ("3.5.8", True), ("3.6.0", True)),
        *(("3.3.99", False), ("3.6.0-alpha.0", True), ("4.0.1", True), ("", False), ("unknown", False)),
    ],
)
def test_only_etcds_that_answer_in_order_are_believed(version: str, is_exact: bool) -> None:
    assert progress_is_exact(version) == is_exact
