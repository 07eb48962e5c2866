"""What a shell completes: contexts from the kubeconfig, and names from the cluster that is asked.

Completion never fails and never waits long: what cannot be had in time is not offered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

ASK_SECONDS = 2.0  # a shell that stands still for longer is worse than one that offers nothing


def complete_context(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of contexts; after a comma the next one."""
    from k8s import kubeconfig  # noqa: PLC0415 - help and the completion script stay quick

    before, comma, last = incomplete.rpartition(",")
    taken = set(before.split(","))
    names = kubeconfig.contexts(_kubeconfig(ctx))
    return [
        CompletionItem(f"{before}{comma}{name}")
        for name in names
        if name.startswith(last) and name not in taken
    ]


def complete_service(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Global services of the context that was chosen, as NAMESPACE/NAME."""

    async def names() -> list[str]:
        from cli.target import Target  # noqa: PLC0415 - see above
        from k8s import objects  # noqa: PLC0415 - see above
        from k8s.core import Service  # noqa: PLC0415 - see above
        from k8s.resource import SERVICE  # noqa: PLC0415 - see above
        from mesh.preference import is_global  # noqa: PLC0415 - see above

        async with Target(_kubeconfig(ctx), ctx.params.get("context")).connect() as client:
            found = [objects.decode(raw, Service) for raw in await client.list(SERVICE)]
        return [each.metadata.key for each in found if is_global(each.metadata.annotations)]

    return [CompletionItem(name) for name in _asked(names()) if name.startswith(incomplete)]


def complete_cluster(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the peers that the chosen context's cluster is connected to."""

    async def names() -> list[str]:
        from cli import facts  # noqa: PLC0415 - see above
        from cli.target import Target  # noqa: PLC0415 - see above

        target = Target(_kubeconfig(ctx), ctx.params.get("context"))
        async with target.connect() as client:
            found = await facts.read(client, target)
        return sorted(found.peers | found.mirrored)

    return [CompletionItem(name) for name in _asked(names()) if name.startswith(incomplete)]


def _asked(names: Coroutine[Any, Any, list[str]]) -> list[str]:
    async def in_time() -> list[str]:
        async with asyncio.timeout(ASK_SECONDS):
            return await names

    try:
        return asyncio.run(in_time())
    except Exception:  # noqa: BLE001 - an error's text would end up in the middle of a command line
        return []


def _kubeconfig(ctx: click.Context) -> Path | None:
    given = ctx.params.get("kubeconfig")
    return Path(given) if given else None
