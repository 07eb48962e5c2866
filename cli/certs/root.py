"""`clustermesh certs root`: a root for authorities of clusters, kept as files and in no cluster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from certs.issue import Authority
from cli import wholefile
from cli.errors import CommandError
from cli.running import run, say

CERTIFICATE, KEY = "root.crt", "root.key"
YEAR = 365


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", default="clustermesh root", show_default=True, help="Common name of the root.")
@click.option(
    "--years", type=click.IntRange(1, 50), default=10, show_default=True, help="How long it is good."
)
def root(*, directory: Path, name: str, years: int) -> None:
    """Make a root in DIRECTORY: root.crt for everybody, root.key for nobody else."""
    run(_root(directory, name, timedelta(days=years * YEAR)))


async def _root(directory: Path, name: str, validity: timedelta) -> None:
    issued = Authority.create(datetime.now(UTC), name=name, validity=validity, signs_authorities=True).issued
    key, certificate = directory / KEY, directory / CERTIFICATE
    for file in (key, certificate):
        if file.exists():
            raise CommandError(f"{file} is there already: a root is never overwritten")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{directory}: {error.strerror}") from None
    wholefile.create(key, issued.key_pem, 0o600)
    try:
        wholefile.create(certificate, issued.certificate_pem, 0o644)
    except CommandError:
        key.unlink()  # a root without its certificate is none, and would be in the way of the next
        raise
    say(f"root made in {directory}: keep {KEY} offline; only 'clustermesh certs intermediate' needs it")


def load(directory: Path) -> Authority:
    """Raises CommandError, MaterialError."""
    try:
        return Authority.load((directory / CERTIFICATE).read_bytes(), (directory / KEY).read_bytes())
    except OSError as error:
        raise CommandError(
            f"{error.filename}: {error.strerror}: make it with 'clustermesh certs root'"
        ) from None
