"""YAML as everything of ours writes it: to be read, compared, and applied. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml


class _Plain(yaml.SafeDumper):
    """Values that are in two places are written twice: references are hard to read and to compare."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Lines as lines, so that a person sees what is there: certificates, files of a ConfigMap."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _text)


def dumped(body: Any) -> str:
    """One document, keys as they come."""
    return yaml.dump(body, Dumper=_Plain, sort_keys=False)


def documents(bodies: Iterable[Any]) -> str:
    return yaml.dump_all(bodies, Dumper=_Plain, sort_keys=False)
