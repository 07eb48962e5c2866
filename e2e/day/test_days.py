"""From `enable` to `disable` and back, under curls that never fail."""

from __future__ import annotations

from e2e.day.days import CLUSTERS, Day, a_moment, failed, reached

# What `disable` leaves: kinds, what nodes and pods published in them, and the authority.
KEPT = {"CustomResourceDefinition", "CiliumNode", "CiliumEndpoint", "CiliumIdentity"}
SHARED = ("--allow-mismatching-ca",)
OURS = {"Deployment web", "Deployment client", "Service web"}


async def test_enabling_twice_restarts_nothing(day: Day) -> None:
    before = {name: (await day.objects(name), await day.secrets(name)) for name in CLUSTERS}
    processes = await day.processes()
    await day.each("enable", "--wait")
    assert await day.processes() == processes
    assert {name: (await day.objects(name), await day.secrets(name)) for name in CLUSTERS} == before


async def test_clusters_are_connected_and_disconnected_and_the_others_go_on(day: Day) -> None:
    await day.apart()
    async with day.curling("east") as answers:
        await reached(answers, "east")
        async with a_moment(answers):
            await day.run("connect", "--context", "east", "--destination-context", "west")
            await day.ready(["east", "west"])
            await reached(answers, "east", "west")
        async with a_moment(answers):
            await day.connected()
            await reached(answers, *CLUSTERS)
        processes = await day.processes()
        async with a_moment(answers):
            await day.run("disconnect", "--context", "east", "--destination-context", "west")
            await reached(answers, "east", "north")
        await day.answered("north", *CLUSTERS)
        async with day.api_server_dead("north"), a_moment(answers):
            await day.run("disconnect", "--context", "east", "--cluster", "north")
            await reached(answers, "east")
            await day.answered("west", "west", "north")
        await day.run("disconnect", "--context", "north", "--cluster", "east")
        assert await day.processes() == processes
    assert failed(answers) == []


async def test_a_disabled_cluster_keeps_what_is_not_ours_and_can_be_enabled_again(day: Day) -> None:
    await day.run("connect", "--context", "west", "--destination-context", "east,north", *SHARED)
    await day.ready(["west"])
    async with day.curling("west") as answers:
        await reached(answers, *CLUSTERS)
        async with a_moment(answers):
            await day.run("disconnect", "--context", "west", "--destination-context", "north")
            await reached(answers, "east", "west")
        await day.run("disable", "--context", "north")
        left = await day.objects("north") - day.before["north"] - OURS
        assert {each for each in left if each.split()[0] not in KEPT} == {"Secret cilium-ca"}
        await day.run("enable", "--context", "north", "--wait")
        async with a_moment(answers):
            await day.run("connect", "--context", "west", "--destination-context", "north", *SHARED)
            await reached(answers, *CLUSTERS)
    assert failed(answers) == []
