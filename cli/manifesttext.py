"""Objects as YAML: for reading, and for `kubectl`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import yaml

from cli import secret
from cli.manifest import Manifest


class _Plain(yaml.SafeDumper):
    """Values that are in two places are written twice: references are hard to read and to compare."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def as_yaml(wanted: Sequence[Manifest]) -> str:
    """For `kubectl diff` and for reading. Private keys are left out."""
    shown = []
    for each in wanted:
        is_secret = each.resource == secret.SECRET and "data" in each.body
        body = secret.redacted(each.body) if is_secret else each.body
        shown.append(replace(each, body=body).complete)
    return yaml.dump_all(shown, Dumper=_Plain, sort_keys=False)
