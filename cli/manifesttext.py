"""Objects as YAML: for reading, and for `kubectl`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cli import secret, yamltext
from cli.manifest import Manifest


def as_yaml(wanted: Sequence[Manifest]) -> str:
    """For `kubectl diff` and for reading. Private keys are left out."""
    shown = []
    for each in wanted:
        is_secret = each.resource == secret.SECRET and "data" in each.body
        body = secret.redacted(each.body) if is_secret else each.body
        shown.append(replace(each, body=body).complete)
    return yamltext.documents(shown)
