"""What every program that writes our own etcd has: flags for who we are and where that is, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

from aiokit.failure import leaves
from mesh.addressing import UNSET_NAME

F = TypeVar("F", bound=Callable[..., Any])

ENVIRONMENT = {"auto_envvar_prefix": "CLUSTERMESH"}

_OWN_STORE = (
    click.option("--cluster-name", default=UNSET_NAME, show_default=True, help="Name of this cluster."),
    click.option("--cluster-id", type=int, default=0, show_default=True, help="This cluster's id, from 1."),
    click.option(
        "--max-connected-clusters",
        type=int,
        default=255,
        show_default=True,
        help="255 or 511; equal everywhere.",
    ),
    click.option(
        "--kvstore-opt", multiple=True, metavar="KEY=VALUE", help="etcd.config=FILE: where etcd is."
    ),
    click.option("--etcd-endpoint", default="", metavar="URL", help="A loopback etcd without TLS."),
    click.option(
        "--kvstore-lease-ttl", default="15m", show_default=True, help="Lifetime of keys after we end."
    ),
)


def of_own_store(command: F) -> F:
    """Decorates a command with the flags, in the order in which help shows them."""
    for option in reversed(_OWN_STORE):
        command = option(command)
    return command


def run(program: Coroutine[Any, Any, None], *expected: type[Exception]) -> None:
    """Until it ends. What is `expected` somebody can put right: it becomes one plain ClickException."""
    reasons: list[str] = []  # an exit inside `except*` would be wrapped like an error
    try:
        asyncio.run(program)
    except* expected as errors:
        reasons = [str(error) for error in leaves(errors)]
    if reasons:
        raise click.ClickException("; ".join(reasons))
