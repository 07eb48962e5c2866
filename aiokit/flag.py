"""Flags of our programs as Cilium's are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def toggle(name: str, *, default: bool = False, text: str) -> Callable[[F], F]:
    """A click option that is on as `--name` and `--name=true`, off as `--name=false`. `text`: its help."""
    return click.option(
        name, type=bool, is_flag=False, flag_value="true", default=default, show_default=True, help=text
    )
