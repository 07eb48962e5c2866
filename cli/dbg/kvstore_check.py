"""`clustermesh-dbg kvstore check FILE`: do our codecs understand this dump of an etcd, to the byte?

Reads a JSON list of objects with `key` and `value` (or `value_b64`); other members are ignored. Refuses what
Cilium's own decoders refuse. Exit status: 0 when everything that was decoded came out as it went in, 1 when
something did not, 2 when the file cannot be read. A refused entry is a finding, not a failure of the check.
"""

from __future__ import annotations

import sys
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from cli.dbg.output import Output, output_option
from mesh.dump import examine

EXIT_DIFFERENT = 1
EXIT_UNREADABLE = 2
_SHOWN = 20  # differing keys named on stderr


class _Entry(msgspec.Struct):
    key: str
    value: str | None = None
    value_b64: str | None = None


class Rejected(NamedTuple):
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a dump holds. `different` were decoded, but come out as other bytes."""

    total: int
    rejected: tuple[Rejected, ...]
    different: tuple[str, ...]

    @property
    def decoded(self) -> int:
        return self.total - len(self.rejected)

    @property
    def identical(self) -> int:
        return self.decoded - len(self.different)


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@output_option("json")
def check(file: str, output: Output) -> None:
    """Decode a dump of keys and values, encode it again, and compare.

    FILE is a JSON list of {"key", "value"} (or "value_b64" for bytes that are no text); "-" reads stdin.

    \b
    decoded    Cilium's own decoder takes it, and the key belongs to the value
    rejected   it does not: every one is named with the reason
    identical  decoded, and encoded again to the same bytes. Left out of this
               comparison are members of JSON objects that no version of Cilium
               that we know writes (decoders ignore them), and how endpoint
               slices are compressed (no two encoders do it the same way; the
               message inside is compared).

    Exit status: 0 all that was decoded is identical, 1 some is not (the keys are named on
    stderr), 2 FILE cannot be read. What is rejected does not count.
    """
    try:
        report = check_pairs(read_dump(_read(file)))
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        click.echo(f"{file}: {why}", err=True)
        raise SystemExit(EXIT_UNREADABLE) from error
    if output.is_table:
        click.echo(as_table(report))
    else:
        click.echo(output.of(as_json(report)), nl=False)
    for key in report.different[:_SHOWN]:
        click.echo(f"not identical: {key}", err=True)
    if report.different:
        raise SystemExit(EXIT_DIFFERENT)


def _read(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()


def read_dump(text: bytes) -> list[tuple[str, bytes]]:
    """The pairs of a dump. ValueError when it is none."""
    entries = msgspec.json.decode(text, type=list[_Entry])
    return [(entry.key, _value(entry)) for entry in entries]


def _value(entry: _Entry) -> bytes:
    if entry.value is not None and entry.value_b64 is None:
        return entry.value.encode()
    if entry.value_b64 is not None and entry.value is None:
        return b64decode(entry.value_b64, validate=True)
    raise ValueError(f'{entry.key}: needs either "value" or "value_b64"')


def check_pairs(pairs: list[tuple[str, bytes]]) -> Report:
    rejected: list[Rejected] = []
    different: list[str] = []
    for key, value in pairs:
        result = examine(key.encode(), value)
        if result.reason:
            rejected.append(Rejected(key, result.reason))
        elif not result.is_identical:
            different.append(key)
    return Report(len(pairs), tuple(rejected), tuple(different))


def as_json(report: Report) -> bytes:
    shown = {
        "total": report.total,
        "decoded": report.decoded,
        "identical": report.identical,
        "rejected": [item._asdict() for item in report.rejected],
    }
    return msgspec.json.encode(shown)


def as_table(report: Report) -> str:
    lines = [
        f"{'Total':<11}{report.total}",
        f"{'Decoded':<11}{report.decoded}",
        f"{'Identical':<11}{report.identical}",
        f"{'Rejected':<11}{len(report.rejected)}",
    ]
    reasons = Counter(item.reason for item in report.rejected)
    lines += [f"  {count:>7}  {reason}" for reason, count in reasons.most_common()]
    return "\n".join(lines)


if __name__ == "__main__":
    check()
