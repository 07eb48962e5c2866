"""What the service maps hold, by meaning. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from bpf import lb_map
from bpf.lb_lists import is_group
from bpf.lb_steps import Dumps
from mesh.localservice import Frontend
from mesh.matching import Backend


def frontend_of(key: bytes) -> Frontend:
    """Of a service's key in the services map; of a group's, the service's that it is of."""
    service = lb_map.unpack_service(key)
    return Frontend(service.ip, service.port, service.protocol, service.scope == lb_map.SCOPE_OUTSIDE)


def backends_of(dumps: Dumps) -> dict[Frontend, tuple[Backend, ...]]:
    """The services maps by meaning: every frontend and its backends."""
    values = {lb_map.unpack_backend_id(k): lb_map.unpack_backend(v) for k, v in dumps.backends.items()}
    found: dict[Frontend, tuple[Backend, ...]] = {}
    for key in dumps.services:
        if lb_map.with_slot(key, 0) != key or is_group(key):
            continue
        members = [values[number] for number in _numbers(dumps.services, key) if number in values]
        found[frontend_of(key)] = tuple(Backend(b.ip, b.port, b.protocol, b.cluster_id) for b in members)
    return found


def _numbers(services: Mapping[bytes, bytes], key: bytes) -> list[int]:
    """The backends that a list names, also through the groups that it names; each once."""
    master = services.get(key)
    count = lb_map.unpack_service_value(master).count if master else 0
    slots = [lb_map.with_slot(key, n) for n in range(1, count + 1)]
    entries = [lb_map.unpack_service_value(services[slot]) for slot in slots if slot in services]
    numbers = [entry.backend_id for entry in entries if not entry.group]
    for group in dict.fromkeys(entry.group for entry in entries if entry.group in lb_map.GROUP_SCOPES):
        numbers += [] if lb_map.scope_of(key) == group else _numbers(services, lb_map.with_scope(key, group))
    return list(dict.fromkeys(numbers))
