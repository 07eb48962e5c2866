"""`./run demo`: two clusters, one service, one curl; then a failover, a policy, and what each took.

Everything goes the way a user goes: the command line, Kubernetes objects, curl from inside a pod. Every
number is measured in this run. Whatever happens, the lab is gone at the end.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager

import click
from rich.console import Console

from lab.demo.driver import CommandError, Driver
from lab.demo.objects import SLEEP_IMAGE, deny_policy, deployment, service
from lab.demo.report import Curl, DemoResult, PolicyResult, as_json, as_tables
from lab.demo.steps import count_drops, failover, is_denied, measure_propagation, until_answered_by
from lab.plan import LabPlan, make

LAB = "demo"
CLUSTERS = ["east", "west"]
STATUS_WAIT = "60s"
FEW_CURLS = 8  # enough to see both clusters take part


class Progress:
    """Says on stderr what is being done and keeps how long it took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._console = Console(stderr=True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        with self._console.status(f"{name} …"):
            yield
        self.seconds[name] = round(time.monotonic() - started, 2)
        self._console.print(f"[green]✓[/] {name} [dim]{self.seconds[name]:.1f} s[/]")


async def demo(lab: Driver, plan: LabPlan, progress: Progress) -> DemoResult:
    """The whole way, in a lab that is up."""
    client, url = await _prepare(lab, progress)
    with progress.step("curl east's service until both clusters have answered"):
        answers = await until_answered_by(lab, client, url, set(CLUSTERS), at_least=FEW_CURLS)
    with progress.step("measure west's etcd to east's kernel map"):
        spread = await measure_propagation(lab, plan)
    with progress.step("scale east to 0, curl on"):
        failed, failover_ms = await failover(lab, client, url)
    with progress.step("deny east's client in west"):
        policy = await _policy(lab, plan, client, url)
    curls = [Curl(f"east/{client}", url, a.served_by, round(a.ms, 2)) for a in answers if a.served_by]
    served = {answer.cluster for answer in answers}
    ok = served == set(CLUSTERS) and failed == 0 and policy.allowed and policy.denied
    return DemoResult(CLUSTERS, curls, failover_ms, failed, spread, policy, progress.seconds, ok)


async def _prepare(lab: Driver, progress: Progress) -> tuple[str, str]:
    """The mesh and the service; the client pod's name and the service's address."""
    with progress.step("clustermesh enable, in both clusters"):
        async with asyncio.TaskGroup() as group:
            for name in CLUSTERS:
                enabling = lab.command("enable", "--context", name, "--wait")
                group.create_task(enabling, name=f"enable {name}")
    with progress.step("clustermesh connect"):
        await lab.command("connect", "--context", "east", "--destination-context", "west")
    with progress.step("a global service `web` with pods in both"):
        web = [deployment("web", replicas=2), service("web")]
        await lab.apply("west", *web)
        await lab.apply("east", *web, deployment("client", replicas=1, image=SLEEP_IMAGE))
        clients = await lab.wait_pods("east", "client", 1)
        for name in CLUSTERS:
            await lab.wait_pods(name, "web", 2)
    with progress.step("clustermesh status: every peer programmed"):
        await lab.command("status", "--context", "east", "--wait", "--wait-duration", STATUS_WAIT)
    return clients[0], f"http://{await lab.cluster_ip('east', 'web')}/"


async def _policy(lab: Driver, plan: LabPlan, client: str, url: str) -> PolicyResult:
    """Allowed, then denied by identity, then allowed again. East has no backends left: west answers."""
    before = await lab.curl("east", client, url)
    drops = count_drops(plan, "west")
    await lab.apply("west", deny_policy("no-east-client", protects="web", app="client", cluster="east"))
    denied = await is_denied(lab, client, url)
    drops = count_drops(plan, "west") - drops
    await lab.delete("west", "CiliumNetworkPolicy", "no-east-client")
    after = await until_answered_by(lab, client, url, {"west"})
    allowed = before.cluster == "west" and after[-1].cluster == "west"
    return PolicyResult(allowed=allowed, denied=denied and drops > 0, drops=drops)


@asynccontextmanager
async def lab_up(lab: Driver, progress: Progress) -> AsyncGenerator[None]:
    """A lab while the block runs; removed by any door, a second Ctrl-C included."""
    try:
        with progress.step("lab up: etcd, API and two nodes in each of east and west"):
            await lab.command("lab", "--name", lab.lab, "up", "--nodes", "2")
        yield
    finally:
        with progress.step("lab down"):
            await asyncio.shield(lab.command("lab", "--name", lab.lab, "down"))


async def run() -> DemoResult:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    lab, progress = Driver(LAB), Progress()
    async with lab_up(lab, progress):
        return await demo(lab, make(LAB, CLUSTERS, 2), progress)


@click.command()
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def main(output: str) -> None:
    """Two clusters on this machine, one service, one curl: the whole way, measured."""
    try:
        result = asyncio.run(run())
    except asyncio.CancelledError:
        click.echo("demo: interrupted; the lab is removed", err=True)
        sys.exit(130)
    except (CommandError, TimeoutError) as error:
        click.echo(f"demo: {error}", err=True)
        sys.exit(1)
    if output == "json":
        click.echo(as_json(result))
    else:
        as_tables(result, Console())
    sys.exit(0 if result.ok else 1)


if __name__ == "__main__":
    main()
