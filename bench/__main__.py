"""`./run bench NAME [-o json]`: measure, print. Progress and warnings go to standard error.

\b
  ./run bench sync --entries 100000     etcd -> proxy -> agent -> kernel, beside its floor
  ./run bench proxy -o json             lists and watches through the proxy
  ./run bench all --write-docs          everything at modest sizes; the table goes to docs/performance.md
  ./run bench generate --help           fill an etcd with a cluster of some size, and keep changing it
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bench import datapath as datapath_bench
from bench import docs, machine, suite
from bench import generate as generator
from bench import hooks as hooks_bench
from bench import memory as memory_bench
from bench import mesh as mesh_bench
from bench import propagation as propagation_bench
from bench import proxy as proxy_bench
from bench import service as service_bench
from bench import sync as sync_bench
from bench.cluster import Cluster, shape_of
from bench.figure import Figure, as_json, as_table

OUTPUT = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
)
RUNS = click.option("--runs", type=click.IntRange(1), default=3, show_default=True, help="Of each figure.")
Work = Coroutine[Any, Any, list[Figure]]
Measure = Callable[[Path], Work]


class _Numbers(click.ParamType[list[int]]):
    """Positive numbers with commas between."""

    name = "N,N…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        if isinstance(value, list):
            return value
        parts = str(value).split(",")
        if not all(part.isdecimal() and int(part) for part in parts):
            self.fail(f"{value!r} is not a list of numbers like 1000,10000", param, ctx)
        return [int(part) for part in parts]


class _Crowd(click.ParamType[proxy_bench.Crowd]):
    """A number of watchers, and puts a second where they are not the usual ones."""

    name = "N[@RATE]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> proxy_bench.Crowd:
        if isinstance(value, proxy_bench.Crowd):
            return value
        watchers, has_rate, rate = str(value).partition("@")
        rate = rate if has_rate else str(proxy_bench.PUTS_A_SECOND)
        if not (watchers.isdecimal() and rate.isdecimal() and int(watchers) and int(rate)):
            self.fail(f"{value!r} is not watchers or watchers@puts, like 1000 or 100@5000", param, ctx)
        return proxy_bench.Crowd(int(watchers), int(rate))


NUMBERS = _Numbers()
CROWD = _Crowd()


@click.group(help=__doc__, context_settings={"max_content_width": 110})
def main() -> None:
    pass


@main.command()
@OUTPUT
@RUNS
@click.option("--keys", type=click.IntRange(1), default=100_000, show_default=True, help="For the list.")
@click.option(
    "--watchers",
    type=CROWD,
    multiple=True,
    default=["10", "100", "1000", "2000", "100@5000"],
    show_default=True,
    help=f"And puts a second, if not {proxy_bench.PUTS_A_SECOND}. May be given several times.",
)
def proxy(*, output: str, keys: int, watchers: list[proxy_bench.Crowd], runs: int) -> None:
    """Lists and watches through the proxy, in plain text and with mutual TLS, beside etcd directly."""
    report(lambda at: proxy_bench.measure(at, keys=keys, crowds=list(watchers), runs=runs), output)


@main.command()
@OUTPUT
@RUNS
@click.option("--entries", type=NUMBERS, default="10000,100000,500000", show_default=True)
def sync(*, output: str, entries: list[int], runs: int) -> None:
    """A remote cluster from its etcd into the kernel, beside one raw Range and one batched map write."""
    report(lambda at: sync_bench.measure(at, entries=entries, runs=runs), output)


@main.command()
@OUTPUT
@RUNS
@click.option("--endpoints", type=click.IntRange(1), default=100_000, show_default=True)
@click.option("--rates", type=NUMBERS, default="325,3250", show_default=True, help="Changes a second.")
@click.option("--seconds", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Of each run.")
def propagation(*, output: str, endpoints: int, rates: list[int], seconds: float, runs: int) -> None:
    """A put in one etcd until it is read back from another cluster's kernel, beside etcd's own watch."""

    def measure(at: Path) -> Work:
        return propagation_bench.measure(at, endpoints=endpoints, rates=rates, seconds=seconds, runs=runs)

    report(measure, output)


@main.command()
@OUTPUT
@RUNS
@click.option("--entries", type=NUMBERS, default="100000,500000", show_default=True)
@click.option("--seconds", type=click.FloatRange(0), default=10.0, show_default=True, help="Of changes.")
def memory(*, output: str, entries: list[int], seconds: float, runs: int) -> None:
    """What a remote endpoint costs the agent, before and after changes."""
    report(lambda at: memory_bench.measure(at, entries=entries, seconds=seconds, runs=runs), output)


@main.command()
@OUTPUT
@RUNS
@click.option("--backends", type=NUMBERS, default="100,1000,10000", show_default=True)
def service(*, output: str, backends: list[int], runs: int) -> None:
    """One endpoint's change in a large global service, until the maps are right."""
    report(lambda at: service_bench.measure(at, backends=backends, runs=runs), output)


@main.command()
@OUTPUT
@RUNS
@click.option("--clusters", type=click.IntRange(1, 250), default=50, show_default=True)
@click.option(
    "--share", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="Of the whole size."
)
@click.option("--churn", type=click.FloatRange(1), default=325.0, show_default=True, help="Changes a second.")
@click.option("--seconds", type=click.FloatRange(0), default=30.0, show_default=True, help="Of changes.")
def mesh(*, output: str, clusters: int, share: float, churn: float, seconds: float, runs: int) -> None:
    """Many clusters into one KVStoreMesh and one agent: 25k nodes, 250k endpoints, 25k identities in all."""

    def measure(at: Path) -> Work:
        return mesh_bench.measure(at, number=clusters, share=share, seconds=seconds, rate=churn, runs=runs)

    report(measure, output)


@main.command()
@OUTPUT
@RUNS
@click.option("--seconds", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Of each load.")
def datapath(*, output: str, seconds: float, runs: int) -> None:
    """Pod to remote pod, and what the hook of connect() costs, beside plain routed veth. Makes a lab."""
    report(lambda at: datapath_bench.measure(at, seconds=seconds, runs=runs), output)


@main.command()
@OUTPUT
@RUNS
def hooks(*, output: str, runs: int) -> None:
    """A packet for no service at the node's device, beside no program's work; what the verifier counts."""
    report(lambda at: hooks_bench.measure(at, runs=runs), output)


@main.command(name="all")
@OUTPUT
@RUNS
@click.option("--write-docs", is_flag=True, help="Put the table into docs/performance.md.")
def everything(*, output: str, runs: int, write_docs: bool) -> None:
    """Everything at sizes that take a few minutes together."""
    found: list[Figure] = []

    async def measure(at: Path) -> list[Figure]:
        for name, work in suite.parts(at, runs).items():
            click.echo(f"bench: {name}", err=True)
            found.extend(await work())
        return found

    report(measure, output)
    if write_docs:
        docs.write(found, machine.describe())


@main.command()
@click.option(
    "--etcd", default="127.0.0.1:2379", show_default=True, metavar="HOST:PORT", help="In plain text."
)
@click.option("--cluster-name", default="west", show_default=True)
@click.option("--cluster-id", type=click.IntRange(1, 255), default=2, show_default=True)
@click.option("--endpoints", type=click.IntRange(1), default=100_000, show_default=True)
@click.option("--nodes", type=click.IntRange(1), default=1_000, show_default=True)
@click.option("--identities", type=click.IntRange(1), default=2_000, show_default=True)
@click.option("--services", type=click.IntRange(0), default=200, show_default=True)
@click.option("--backends", type=click.IntRange(1), default=10, show_default=True, help="Of each service.")
@click.option("--churn", type=click.FloatRange(0), default=325.0, show_default=True, help="Changes a second.")
@click.option("--seconds", type=click.FloatRange(0), default=0.0, show_default=True, help="Of churn.")
def generate(
    *,
    etcd: str,
    cluster_name: str,
    cluster_id: int,
    endpoints: int,
    churn: float,
    seconds: float,
    **sizes: int,
) -> None:
    """Write a cluster into an etcd, in the wire's own encodings, then change it at a steady rate."""
    cluster = Cluster(cluster_name, cluster_id, shape_of(endpoints, **sizes))
    asyncio.run(generator.fill(etcd, cluster, churn, seconds))


def report(measure: Measure, output: str) -> None:
    """Measure in a folder of our own, as root; print."""
    if os.geteuid():
        raise click.ClickException("kernel maps and network namespaces are real here: run it as root")
    click.echo(machine.describe(), err=True)
    with tempfile.TemporaryDirectory(prefix="clustermesh-bench-") as folder:
        figures = asyncio.run(measure(Path(folder)))
    if output == "json":
        click.echo(as_json(figures))
    else:
        Console(width=None if os.isatty(1) else 140).print(as_table(figures))


if __name__ == "__main__":
    main()
