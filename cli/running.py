"""From click's world into asyncio's and back: errors become one line on stderr and exit status 1."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

from aiokit.failure import first
from certs.errors import CertificateError
from cli.errors import CommandError, RefusedError
from k8s.errors import KubernetesError

T = TypeVar("T")

_EXPECTED = (CommandError, KubernetesError, CertificateError, TimeoutError)


def run(work: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result; expected failures end the program, bugs show their traceback."""
    failure: BaseException | None = None
    try:
        return asyncio.run(work)
    except _EXPECTED as error:
        failure = error
    except BaseExceptionGroup as group:
        expected, others = group.split(_EXPECTED)
        if others is not None or expected is None:
            raise
        failure = first(expected)
    for line in failure.reasons if isinstance(failure, RefusedError) else [str(failure)]:
        click.echo(f"error: {line}", err=True)
    raise SystemExit(1)


def say(text: str) -> None:
    """Talk goes to stderr; stdout is for data."""
    click.echo(text, err=True)


def confirms_removal() -> bool:
    """Whether the user says yes to removing what was just listed. Who is not there says no."""
    try:
        if click.confirm("This cannot be undone. Remove all of these?", err=True):
            return True
    except click.Abort:  # nobody there
        say("")
    say("nothing was removed (--force does not ask)")
    return False
