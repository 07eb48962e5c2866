"""What a request's URL path names: a collection, an object, or something below an object. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})  # all else behind a namespace is a kind in it


@dataclass(frozen=True, slots=True)
class Target:
    """`name` is empty for a collection; `rest` is what follows the subresource (a proxied path)."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""


def parse(raw_path: str) -> Target | None:
    """None when the path names no resource (discovery, health, nonsense)."""
    match [unquote(part) for part in raw_path.strip("/").split("/")]:
        case ["api", version, *parts] if parts:
            return _resource("", version, parts)
        case ["apis", group, version, *parts] if parts:
            return _resource(group, version, parts)
    return None


def _resource(group: str, version: str, parts: list[str]) -> Target:
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = [*parts[:3], "", ""][:3]
    return Target(group, version, plural, namespace, name, subresource, "/".join(parts[3:]))
