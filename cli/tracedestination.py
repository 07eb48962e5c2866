"""DST:PORT and --protocol, as both `trace` commands take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from mesh.ip import with_port


@dataclass(frozen=True, slots=True)
class Destination:
    name: str
    port: int
    protocol: str

    def query(self, source: str) -> dict[str, str]:
        """For the agent's API."""
        return {
            "source": source,
            "destination": self.name,
            "port": str(self.port),
            "protocol": self.protocol.upper(),
        }

    @property
    def text(self) -> str:
        return with_port(self.name, self.port)


def parse(text: str, protocol: str = "tcp") -> Destination:
    """`name:port`, `address:port` or `[address]:port`. Raises ValueError."""
    name, colon, port = text.rpartition(":")
    name = name.removeprefix("[").removesuffix("]")
    if not colon or not name or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        raise ValueError(f"{text!r} is not DST:PORT, as in web.shop:80 or 10.2.1.5:8080")
    return Destination(name, int(port), protocol)


def with_destination(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add DST:PORT and --protocol; the command gets `destination`."""

    @click.argument("destination", metavar="DST:PORT")
    @click.option(
        "--protocol",
        type=click.Choice(["tcp", "udp", "sctp"], case_sensitive=False),
        default="tcp",
        show_default=True,
    )
    @wraps(command)
    def wrapper(*args: Any, destination: str, protocol: str, **kwargs: Any) -> Any:
        try:
            parsed = parse(destination, protocol)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="DST:PORT") from error
        return command(*args, destination=parsed, **kwargs)

    return wrapper
