"""Merge patches of Kubernetes, applied to plain JSON. Pure: arguments are never changed.

Strategic merge here knows the merge keys of lists by field name, which is right for the kinds that the
lab stores; the directives that `kubectl apply` writes ($patch, $setElementOrder, $deleteFromPrimitiveList,
$retainKeys) are understood.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

Json = dict[str, Any]

_MERGE_KEYS: dict[str, tuple[str, ...]] = {  # the first one that the items have
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "hostAliases": ("ip",),
    "podIPs": ("ip",),
    "ownerReferences": ("uid",),
    "conditions": ("type",),
    "addresses": ("type",),
    "taints": ("key",),
    "topologySpreadConstraints": ("topologyKey",),
    "ports": ("containerPort", "port"),
}
_PRIMITIVE_LISTS = frozenset({"finalizers"})  # merged as sets
_ATOMIC_KINDS = frozenset({"EndpointSlice"})  # the lists of these are replaced as a whole


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def strategic_merge(target: Json, patch: Json) -> Json:
    """Like a merge patch, but lists of named things are merged item by item."""
    atomic = (target.get("kind") or patch.get("kind")) in _ATOMIC_KINDS
    return _merge_maps(target, patch, atomic=atomic)


def _merge_maps(target: Json, patch: Json, *, atomic: bool) -> Json:
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    if directive == "replace":
        whole: Json = _plain(patch)
        return whole
    result = dict(target)
    retained = patch.get("$retainKeys")
    if retained is not None:
        result = {key: value for key, value in result.items() if key in retained}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            result[field] = [item for item in result.get(field, []) if item not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = _merge_value(key, result.get(key), value, atomic=atomic)
    return _in_order(result, patch)


def _merge_value(field: str, old: Any, new: Any, *, atomic: bool) -> Any:
    if isinstance(new, dict):
        return _merge_maps(old if isinstance(old, dict) else {}, new, atomic=atomic)
    if not isinstance(new, list):
        return new
    old = old if isinstance(old, list) else []
    if field in _PRIMITIVE_LISTS:
        return [*old, *(item for item in new if item not in old)]
    merge_key = "" if atomic and field != "ownerReferences" else _merge_key(field, [*old, *new])
    return _merge_lists(old, new, merge_key, atomic=atomic) if merge_key else _plain(new)


def _merge_key(field: str, items: list[Any]) -> str:
    items = [item for item in items if isinstance(item, dict) and item.get("$patch") != "replace"]
    for key in _MERGE_KEYS.get(field, ()):
        if items and all(key in item for item in items):
            return key
    return ""


def _merge_lists(old: list[Json], new: list[Json], merge_key: str, *, atomic: bool) -> list[Json]:
    if any(item.get("$patch") == "replace" for item in new):
        whole: list[Json] = _plain([item for item in new if "$patch" not in item])
        return whole
    merged = {item[merge_key]: item for item in old}
    for item in new:
        name = item[merge_key]
        if item.get("$patch") == "delete":
            merged.pop(name, None)
        else:
            merged[name] = _merge_maps(merged.get(name, {}), item, atomic=atomic)
    return list(merged.values())


def _in_order(result: Json, patch: Json) -> Json:
    """Lists in the order that `$setElementOrder/<field>` asks for; unnamed items stay behind."""
    for key, order in patch.items():
        if not key.startswith("$setElementOrder/"):
            continue
        field = key.partition("/")[2]
        ranks = {_rank_key(item): rank for rank, item in enumerate(order)}
        names = tuple(order[0]) if order and isinstance(order[0], dict) else ()
        items = result.get(field, [])
        result[field] = sorted(
            items,
            key=lambda item: ranks.get(_rank_key(item, names), len(ranks)),
        )
    return result


def _rank_key(item: Any, names: tuple[str, ...] = ()) -> str:
    if isinstance(item, dict):
        return repr({name: item.get(name) for name in names or tuple(item)})
    return repr(item)


def _plain(value: Any) -> Any:
    """A copy without directives and without nulls, which mean absence here."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if not key.startswith("$") and item is not None}
        return {key: _plain(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
