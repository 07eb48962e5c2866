"""Which cluster a command talks to: the flags that all commands share, and the connection they lead to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from cli.completing import complete_context
from k8s.client import Client, connect

NAMESPACE = "kube-system"


@dataclass(frozen=True, slots=True)
class Target:
    """A kubeconfig context (None: the current one) and the namespace of the mesh's objects there.

    `title`: what messages call a cluster that has no context here.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str = NAMESPACE
    title: str = ""

    @property
    def flags(self) -> str:
        """How an operator names this target in a command; for messages."""
        parts = [f" --context {self.context}" if self.context else ""]
        parts.append("" if self.namespace == NAMESPACE else f" -n {self.namespace}")
        return "".join(parts)

    @property
    def label(self) -> str:
        return self.title or self.context or "the current context"

    def other(self, context: str) -> Target:
        return replace(self, context=context)

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[Client]:
        """A client for this context. Raises AccessError when the kubeconfig does not lead anywhere."""
        from k8s.access import load_default  # noqa: PLC0415 - slow to import; help and completion stay quick

        access = await asyncio.to_thread(load_default, self.kubeconfig, self.context)
        async with connect(access) as client:
            yield client


def with_target(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --context, --kubeconfig and -n/--namespace; the command gets them as `target`."""

    @click.option(
        "--context", shell_complete=complete_context, help="Kubeconfig context (default: the current one)."
    )
    @click.option(
        "--kubeconfig",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Kubeconfig file (default: $KUBECONFIG or ~/.kube/config).",
    )
    @click.option(
        "-n", "--namespace", default=NAMESPACE, show_default=True, help="Namespace of the mesh's objects."
    )
    @wraps(command)
    def wrapper(
        *args: Any, context: str | None, kubeconfig: Path | None, namespace: str, **kwargs: Any
    ) -> Any:
        return command(*args, target=Target(kubeconfig, context, namespace), **kwargs)

    return wrapper


def split(values: Sequence[str]) -> list[str]:
    """Repeated and comma-separated values, once each, in order."""
    return list(dict.fromkeys(part.strip() for value in values for part in value.split(",") if part.strip()))
