"""Who is shut out of a cluster: the list that `certs revoke` writes and the proxy follows. Pure."""

from __future__ import annotations

import msgspec
import yaml

from cli import yamltext
from cli.errors import CommandError
from cli.settings import REVOKED_CONFIG_MAP, REVOKED_FILE
from k8s import objects
from k8s.core import ConfigMap


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Either a common name or a serial number in hexadecimal, as the proxy reads it."""

    name: str = ""
    serial: str = ""


class _Revoked(msgspec.Struct, forbid_unknown_fields=True):
    revoked: list[Entry] | None = None


def parse(raw: bytes | None) -> list[Entry]:
    """Of the ConfigMap as the API server has it. Raises CommandError when the proxy could not read it."""
    text = objects.decode(raw, ConfigMap).data.get(REVOKED_FILE, "") if raw else ""
    try:
        document = yaml.safe_load(text)
        return msgspec.convert(document if document is not None else {}, _Revoked).revoked or []
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise CommandError(f"ConfigMap {REVOKED_CONFIG_MAP}: {' '.join(str(error).split())}") from error


def names_nobody(raw: bytes) -> bool:
    """What cannot be read may name somebody."""
    try:
        return not parse(raw)
    except CommandError:
        return False


def render(entries: list[Entry]) -> str:
    return yamltext.dumped({"revoked": msgspec.to_builtins(entries)})


def without(present: list[Entry], gone: list[Entry]) -> list[Entry]:
    return [entry for entry in present if entry not in gone]
