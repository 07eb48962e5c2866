"""An authority is replaced and a peer is shut out while everybody goes on talking."""

from __future__ import annotations

import json
from typing import Any

from aiokit.wait import eventually
from e2e.day.days import CLUSTERS, Day, failed, reached

SETTLE = "2s"  # the lab's kubelet writes new files at once
CUT_SECONDS = 10.0


async def test_an_authority_is_replaced_and_a_peer_revoked_while_the_others_go_on(day: Day) -> None:
    await day.connected()
    processes = await day.processes()
    old = {name: (await day.secrets(name))["cilium-ca"]["ca.crt"] for name in CLUSTERS}
    async with day.curling("east") as east, day.curling("west") as west:
        await reached(east, *CLUSTERS)
        await day.run(
            *("certs", "rotate-ca", "--context", "east", "--destination-context", "west,north"),
            *("--settle", SETTLE),
        )
        await _assert_replaced(day, old)
        await day.lab.scale("west", "web", 2)  # a change gets through under the new authority
        await day.lab.wait_pods("west", "web", 2)
        await eventually(lambda: len({each.served_by for each in east[-100:]}) == 4, 20)

        # what was made under the forgotten authority is ended once, and made anew
        await eventually(lambda: _is_renewed(day, "east", "west"), 30, 0.2)
        before = await _peer(day, "east", "west")
        await day.run("certs", "revoke", "north", "--context", "west", "--destination-context", "north")
        await eventually(lambda: _is_refused(day), CUT_SECONDS, 0.2)
        assert await _peer(day, "east", "west") == before
        await reached(west, *CLUSTERS)  # west reads north as before: only north is shut out
        await day.run(
            *("certs", "revoke", "north", "--context", "west", "--destination-context", "north", "--undo"),
        )
        await day.ready()
    assert failed(east) == failed(west) == []
    now = await day.processes()
    assert {name: now[name] for name in processes if name in now and "/web-" not in name} == {
        name: found for name, found in processes.items() if "/web-" not in name
    }
    await day.lab.scale("west", "web", 1)


async def _assert_replaced(day: Day, old: dict[str, bytes]) -> None:
    for name in CLUSTERS:
        found = await day.secrets(name)
        assert "cilium-ca-rotation" not in found
        assert (found["cilium-ca"]["ca.crt"] == old[name]) is (name == "north")  # its own was not asked for
        for leaf in ("server", "remote", "local"):
            accepted = found[f"clustermesh-apiserver-{leaf}-cert"]["ca.crt"]
            assert old["east"].strip() not in accepted
            assert old["north"].strip() in accepted


async def _status(day: Day, cluster: str) -> Any:
    return json.loads(await day.lab.command("status", "--context", cluster, "-o", "json", check=False))


async def _peer(day: Day, cluster: str, peer: str) -> tuple[int, int]:
    """Whether KVStoreMesh is connected to it, and how often it had to connect anew."""
    said = (await _status(day, cluster))["kvstoremesh"]["status"]["clusters"][peer]
    return said["connected"], said["num_failures"]


async def _is_renewed(day: Day, cluster: str, peer: str) -> bool:
    connected, failures = await _peer(day, cluster, peer)
    return bool(connected) and failures > 0


async def _is_refused(day: Day) -> bool:
    said = await _status(day, "north")
    causes = {(each["cluster"], each["check"]) for each in said["causes"]}
    return ("west", "peer-refuses-us") in causes
