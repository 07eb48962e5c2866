"""What `lab up` noted of a lab, for every later command and for the servers."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from lab import plan, private_file
from lab.errors import LabError
from lab.paths import LabPaths
from lab.plan import LabPlan
from lab.process import Process


class LabRecord(Struct, frozen=True):
    name: str
    clusters: list[str]
    nodes: int
    ipv6: bool = False

    @property
    def plan(self) -> LabPlan:
        return plan.make(self.name, self.clusters, self.nodes, ipv6=self.ipv6)


class Ready(Struct, frozen=True):
    """A cluster's server answers."""

    port: int  # of its API, on the machine's loopback


class ServerRecord(Struct, frozen=True):
    """A cluster's server, alive or not, and the port it had."""

    process: Process
    port: int


def write(paths: LabPaths, record: LabRecord) -> None:
    private_file.write(paths.record, msgspec.json.encode(record))


def read(lab: str) -> LabRecord:
    """Raises LabError when there is no such lab."""
    try:
        return msgspec.json.decode(LabPaths(plan.check_lab_name(lab)).record.read_bytes(), type=LabRecord)
    except (FileNotFoundError, msgspec.MsgspecError) as error:
        raise LabError(f"lab {lab} is not up: clustermesh lab --name {lab} up") from error


def read_ready(paths: LabPaths, cluster: str) -> Ready | None:
    try:
        return msgspec.json.decode(paths.cluster(cluster).ready.read_bytes(), type=Ready)
    except (OSError, msgspec.MsgspecError):
        return None


def read_server(paths: LabPaths, cluster: str) -> ServerRecord | None:
    try:
        return msgspec.json.decode(paths.cluster(cluster).server.read_bytes(), type=ServerRecord)
    except (OSError, msgspec.MsgspecError):
        return None
