"""One lab for all days: three clusters of one node, enabled, and not connected."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from e2e.day.days import CLUSTERS, Day
from e2e.labname import of_checkout
from lab.demo.driver import Driver
from lab.demo.objects import SLEEP_IMAGE, deployment, service

LAB = of_checkout("day")
AUTHORITY = """
apiVersion: v1
kind: Secret
metadata: {name: cilium-ca, namespace: kube-system}
"""


async def _prepare(lab: Driver, authority: str) -> Day:
    await lab.command("lab", "--name", LAB, "delete", "north", authority)  # `enable` makes it its own
    day = Day(lab, {}, {}, {})
    for name in CLUSTERS:
        day.before[name] = await day.objects(name)
    await day.each("enable", "--wait")
    for name in CLUSTERS:
        client = deployment("client", replicas=1, image=SLEEP_IMAGE)
        await lab.apply(name, deployment("web", replicas=1), service("web"), client)
    for name in CLUSTERS:
        (day.clients[name],) = await lab.wait_pods(name, "client", 1)
        await lab.wait_pods(name, "web", 1)
        day.urls[name] = f"http://{await lab.cluster_ip(name, 'web')}/"
    return day


@pytest.fixture(scope="package")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    lab = Driver(LAB)
    authority = tmp_path_factory.mktemp("day") / "authority.yaml"
    authority.write_text(AUTHORITY)
    try:
        names = ("--cluster-names", ",".join(CLUSTERS))
        asyncio.run(lab.command("lab", "--name", LAB, "up", *names, "--nodes", "1"))
        yield asyncio.run(_prepare(lab, str(authority)))
    finally:
        asyncio.run(lab.command("lab", "--name", LAB, "down"))
