"""YAML in which no key may be there twice: which of the two counts is up to the library. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


class DuplicateKeyError(yaml.YAMLError):
    """A mapping has a key twice."""


def load(text: bytes) -> Any:
    """The one document of `text`. Raises yaml.YAMLError, UnicodeDecodeError, RecursionError."""
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue  # no key of ours; the decoder says so
            key = (key_node.tag, self.construct_scalar(key_node))
            line = key_node.start_mark.line + 1
            if key in seen:
                raise DuplicateKeyError(f"line {line}: {key[1]!r} is there twice, first in line {seen[key]}")
            seen[key] = line
        return super().construct_mapping(node, deep)
