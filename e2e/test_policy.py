"""A pod of the other cluster, denied and allowed by its identity."""

from __future__ import annotations

from e2e.conftest import Mesh
from lab.demo.objects import deny_policy
from lab.demo.steps import count_drops, is_denied, until_answered_by


async def test_a_remote_identity_is_denied_while_the_policy_stands(mesh: Mesh) -> None:
    client = mesh.clients["east"]
    await mesh.lab.scale("east", "web", 0)
    await mesh.lab.wait_pods("east", "web", 0)
    await until_answered_by(mesh.lab, client, mesh.url, {"west"})
    before = count_drops(mesh.plan, "west")

    policy = deny_policy("no-east-client", protects="web", app="client", cluster="east")
    await mesh.lab.apply("west", policy)
    try:
        assert await is_denied(mesh.lab, client, mesh.url)
        assert count_drops(mesh.plan, "west") > before
        own = f"http://{await mesh.lab.cluster_ip('west', 'web')}/"
        assert (await mesh.lab.curl("west", mesh.clients["west"], own)).cluster == "west"
    finally:
        await mesh.lab.delete("west", "CiliumNetworkPolicy", "no-east-client")
    answers = await until_answered_by(mesh.lab, client, mesh.url, {"west"})
    assert answers[-1].cluster == "west"
