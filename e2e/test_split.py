"""A thousand connections to one global service fall as its annotations say."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping

import pytest

from e2e.conftest import Mesh
from e2e.knocking import Target, by_cluster, knock
from lab.demo.objects import Object, service

CONNECTIONS = 1000
SIGMAS = 5.0  # beyond: less than once in a million runs by chance
CHANGE_SECONDS = 30.0
GLOBAL = {"service.cilium.io/global": "true"}
EQUAL = {"east": 0.5, "west": 0.5}


def fits(times: int, share: float) -> bool:
    deviation = math.sqrt(CONNECTIONS * share * (1 - share))
    return abs(times - CONNECTIONS * share) <= SIGMAS * deviation


def _annotated(annotations: Mapping[str, str | None]) -> Object:
    web = service("web")
    web["metadata"]["annotations"] = dict(annotations)
    return web


async def _split(mesh: Mesh) -> Counter[str]:
    target = Target(await mesh.lab.cluster_ip("east", "web"), 80, times=CONNECTIONS)
    return (await knock(mesh, "east", mesh.clients["east"], [target]))[0]


async def _until_split(mesh: Mesh, shares: Mapping[str, float]) -> Counter[str]:
    """A thousand connections, once their split over clusters is within what `shares` allow."""
    found = Counter[str]()
    try:
        async with asyncio.timeout(CHANGE_SECONDS):
            while True:
                found = await _split(mesh)
                clusters = by_cluster(found)
                if clusters.keys() <= shares.keys() and all(fits(clusters[k], v) for k, v in shares.items()):
                    return found
    except TimeoutError as error:
        raise AssertionError(f"{dict(shares)} wanted, {dict(found)} seen") from error


async def test_backends_share_alike(mesh: Mesh) -> None:
    found = await _until_split(mesh, EQUAL)
    assert len(found) == 4
    assert all(fits(times, 1 / 4) for times in found.values()), found


@pytest.mark.parametrize(
    ("says", "shares"),
    [
        ({"service.clustermesh.io/weights": "local=80, west=20"}, {"east": 0.8, "west": 0.2}),
        ({"service.cilium.io/affinity": "local"}, {"east": 1.0}),
        ({"service.cilium.io/affinity": "remote"}, {"west": 1.0}),
        ({"service.clustermesh.io/minimum-local-backends": "2"}, {"east": 1.0}),
        ({"service.clustermesh.io/minimum-local-backends": "3"}, EQUAL),
        ({"service.clustermesh.io/cluster-preference": "west, local"}, {"west": 1.0}),
    ],
    ids=["weighted", "affinity local", "affinity remote", "enough at home", "spill over", "preference"],
)
async def test_annotations_decide(mesh: Mesh, says: dict[str, str], shares: dict[str, float]) -> None:
    await mesh.lab.apply("east", _annotated({**GLOBAL, **says}))
    try:
        found = await _until_split(mesh, shares)
        assert sum(found.values()) == CONNECTIONS
    finally:
        await mesh.lab.apply("east", _annotated({**GLOBAL, **dict.fromkeys(says)}))  # None removes a key
    await _until_split(mesh, EQUAL)
