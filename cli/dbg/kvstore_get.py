"""`clustermesh-dbg kvstore get KEY`: what an etcd holds, read with the agent's own configuration."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path

import click

from cli.dbg.output import Output, with_output
from cli.dbg.troubleshoot import ETCD_CONFIG
from cli.duration import duration
from cli.errors import CommandError
from cli.running import run
from kvstore.backend import KeyValue


@click.command("get")
@click.argument("key")
@click.option("--recursive", is_flag=True, help="Every key that begins with KEY.")
@click.option("--kvstore", type=click.Choice(["etcd"]), default="etcd", show_default=True)
@click.option(
    "--kvstore-opt", "options", multiple=True, help=f"etcd.config=FILE (default: etcd.config={ETCD_CONFIG})."
)
@click.option("--timeout", type=duration, default="10s", show_default=True)
@with_output
def kvstore_get(
    *, key: str, recursive: bool, kvstore: str, options: tuple[str, ...], timeout: float, output: Output
) -> None:
    """Show what stands under KEY; exit 1 when nothing does."""
    del kvstore  # there is one kind
    found = run(_read(_file(options), key.encode(), timeout, recursive=recursive))
    if not output.is_table:
        click.echo(output.of_object([_as_object(pair) for pair in found]), nl=False)
    else:
        for pair in found:
            click.echo(f"{_text(pair.key)} => {_text(pair.value)}")
    if not found:
        raise SystemExit(1)


def _file(options: tuple[str, ...]) -> Path:
    path = ETCD_CONFIG
    for option in options:
        name, equals, value = option.partition("=")
        if name != "etcd.config" or not equals:
            raise click.BadParameter(f"{option!r} is not etcd.config=FILE", param_hint="--kvstore-opt")
        path = Path(value)
    return path


async def _read(path: Path, key: bytes, seconds: float, *, recursive: bool) -> list[KeyValue]:
    from kvstore.config import load  # noqa: PLC0415 - help stays quick
    from kvstore.errors import KVStoreError  # noqa: PLC0415
    from kvstore.etcd import connect  # noqa: PLC0415

    try:
        async with asyncio.timeout(seconds), connect(load(path)) as etcd:
            if recursive:
                return await etcd.get_prefix(key)
            pair = await etcd.get(key)
            return [pair] if pair else []
    except KVStoreError as error:
        text = str(error).removeprefix(f"{path}: ").rstrip(".")
        raise CommandError(f"{path}: {text}. `clustermesh-dbg troubleshoot` walks the way") from error
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from error


def _as_object(pair: KeyValue) -> dict[str, object]:
    """As `kvstore check` reads it."""
    said: dict[str, object] = {"key": _text(pair.key), "mod-revision": pair.mod_revision, "lease": pair.lease}
    try:
        return {**said, "value": pair.value.decode()}
    except UnicodeDecodeError:
        return {**said, "value_b64": b64encode(pair.value).decode()}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
