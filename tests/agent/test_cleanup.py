"""What a stopped agent leaves is removed on request from a real kernel: all of it, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from agent import cleanup, endpoints, leftovers, netlink, nodelock
from agent.cleanup import Places
from agent.endpoints import Stored
from agent.leftovers import HOST, VXLAN
from agent.noderoutes import Changes
from agent.routetable import RouteTable, Tunnelled
from aiokit.wait import eventually
from bpf import datapath, loader, syscall
from bpf.loader import NodeOptions
from bpf.programspec import PROGRAMS, AttachType, ProgramSpec
from bpf.spec import MAPS, MapSpec
from cli.dbg.__main__ import main
from tests.agent.nodespace import NODE_IP, namespace, node_namespace, pods
from tests.agent.test_process import cgroup
from tests.agent.values import endpoint
from tests.bpf import stranger
from tests.bpf.bpffs import mounted
from tests.bpf.bpffs import pins as pinned
from tests.bpf.world import ifindex, ip, within

pytestmark = pytest.mark.root

GATEWAY, CIDR, OTHERS = "10.1.1.1", "10.1.1.0/24", "10.2.1.0/24"
FOREIGN_ROUTE, FOREIGN_ROUTE6 = "192.0.2.0/24", "fd00:8::/64"
OUR_OTHERS = (  # as other versions and modes make them
    ("blackhole", "10.1.7.0/24"),
    ("10.3.1.0/24", "via", "198.18.1.12"),
    ("unreachable", "fd00:10:1:1::/64"),
    ("fd00:10:2:1::/64", "dev", "eth0"),
)
TCX = (AttachType.TCX_INGRESS, AttachType.TCX_EGRESS)
KINDS: dict[str, tuple[MapSpec | ProgramSpec, ...]] = {"maps": MAPS, "progs": PROGRAMS}


@dataclass
class Left:
    """A node whose agent has gone."""

    node: str
    stock: Path  # a loaded data path
    bpf_root: Path
    state: Path
    cgroup: Path
    socket: Path = field(init=False)

    def __post_init__(self) -> None:
        self.socket = self.state / "agent.sock"

    @property
    def places(self) -> Places:
        return Places(self.bpf_root, self.state, self.socket)

    def made(self) -> None:
        """As an agent makes it, with one pod, lxc1."""
        vxlan = within(self.node, lambda: netlink.ensure_vxlan(VXLAN, mtu=1450))
        within(self.node, lambda: netlink.ensure_gateway(HOST, "cilium_net", GATEWAY))
        within(self.node, lambda: netlink.ensure_unreachable(CIDR))
        table = RouteTable(Tunnelled(vxlan.index, GATEWAY))
        within(self.node, lambda: table.change(Changes({OTHERS: "198.18.2.11"}, ()), {}))
        for words in OUR_OTHERS:
            ip("route", "add", *words, "proto", str(netlink.ROUTE_PROTOCOL), namespace=self.node)
        self._load()
        pod = ifindex(self.node, "lxc1")
        with datapath.open(self.bpf_root) as opened:
            within(self.node, lambda: opened.attach_overlay(vxlan.index))
            within(self.node, lambda: opened.attach_underlay(ifindex(self.node, "eth0")))
            within(self.node, lambda: opened.attach_pod(pod))
            opened.attach_cgroup(self.cgroup)
        known = msgspec.structs.replace(endpoint(1), interface="lxc1", ifindex=pod)
        within(self.node, lambda: netlink.ensure_pod_route(known.ipv4, pod, known.mac, GATEWAY))
        endpoints.store(self.state / endpoints.FILE, Stored(endpoints=(known,)))

    def _load(self) -> None:
        """Compiling takes a second: everything of the stock gets a second pin."""
        for pin in [Path("v1", kind, spec.name) for kind, specs in KINDS.items() for spec in specs]:
            (self.bpf_root / pin).parent.mkdir(parents=True, exist_ok=True)
            handle = syscall.obj_get(self.stock / pin)
            syscall.obj_pin(handle, self.bpf_root / pin)
            os.close(handle)
        (self.bpf_root / "v1/links").mkdir()

    def command(self, *options: str) -> list[str]:
        return [
            *("--host", str(self.socket), "post-uninstall-cleanup", *options),
            *("--bpf-root", str(self.bpf_root), "--state-dir", str(self.state)),
        ]

    def run(self, *options: str, answer: str = "", node: str = "", bpf_root: Path | None = None) -> Result:
        command = [
            str(bpf_root) if bpf_root and word == str(self.bpf_root) else word
            for word in self.command(*options)
        ]
        return within(node or self.node, lambda: CliRunner().invoke(main, command, input=answer))

    def asked(self, *options: str, status: int = 0) -> Any:
        done = self.run("-o", "json", *options)
        assert done.exit_code == status, done.stderr
        return json.loads(done.stdout)

    def links(self) -> set[str]:
        return {str(each["ifname"]) for each in json.loads(ip("-j", "link", "show", namespace=self.node))}

    def routes(self) -> set[str]:
        """Without those that the kernel makes for itself."""
        found = [
            *json.loads(ip("-j", "route", "show", namespace=self.node)),
            *json.loads(ip("-j", "-6", "route", "show", namespace=self.node)),
        ]
        return {str(each["dst"]) for each in found if each.get("protocol") != "kernel"}

    def hooks(self, device: str, hook: AttachType = AttachType.TCX_INGRESS) -> list[int]:
        index = ifindex(self.node, device)
        return within(self.node, lambda: syscall.program_query(index, hook))

    def nothing_is_left(self) -> None:
        assert self.links() == {"lo", "eth0", "eth1"}
        assert self.routes() == {FOREIGN_ROUTE, FOREIGN_ROUTE6}
        assert not self.bpf_root.exists()
        assert not self.state.exists()
        assert self.hooks("eth0") == []
        handle = os.open(self.cgroup, os.O_RDONLY)
        try:
            assert syscall.program_query(handle, AttachType.CGROUP_INET4_CONNECT) == []
        finally:
            os.close(handle)


@pytest.fixture(scope="module")
def bpffs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted(tmp_path_factory.mktemp("cleanup") / "bpf") as folder:
        yield folder


@pytest.fixture(scope="module")
def stock(bpffs: Path) -> Iterator[Path]:
    loader.load(bpffs / "stock", NodeOptions(NODE_IP, 1))
    yield bpffs / "stock"
    loader.unload(bpffs / "stock")


@pytest.fixture
def left(bpffs: Path, stock: Path, tmp_path: Path) -> Iterator[Left]:
    with node_namespace() as node, pods(node, 1), cgroup() as group:
        for route in (FOREIGN_ROUTE, FOREIGN_ROUTE6):
            ip("route", "add", route, "dev", "eth0", namespace=node)
        made = Left(node, stock, bpffs / "node", tmp_path / "state", group)
        made.made()
        yield made
        loader.unload(made.bpf_root)


@contextmanager
def strangers(left: Left, device: str) -> Iterator[None]:
    with stranger.program() as program, ExitStack() as stack:
        index = ifindex(left.node, device)
        for hook in (AttachType.TCX_INGRESS, AttachType.TCX_EGRESS):
            held = stranger.attached(program, index, hook)
            within(left.node, lambda held=held: stack.enter_context(held))  # type: ignore[misc]
        yield


def test_all_of_it_goes_and_nothing_else(left: Left) -> None:
    listed = left.asked("--dry-run")
    assert {item["state"] for item in listed["items"]} == {"present"}
    named = {(item["kind"], Path(item["name"]).name) for item in listed["items"]}
    assert {("pod-device", "lxc1"), ("device", VXLAN), ("device", HOST), ("route", "24")} <= named
    assert {name for kind, name in named if kind == "map"} == {spec.name for spec in MAPS}
    assert VXLAN in left.links()
    with strangers(left, "eth0"):
        removed = left.asked("--force")
        assert len(left.hooks("eth0")) == len(left.hooks("eth0", AttachType.TCX_EGRESS)) == 1
    assert (removed["clean"], removed["kept"]) == (True, [])
    assert [item["name"] for item in removed["items"]] == [item["name"] for item in listed["items"]]
    assert {item["state"] for item in removed["items"]} == {"removed"}
    left.nothing_is_left()
    assert left.asked("--force") == {"clean": True, "items": [], "kept": []}
    left.nothing_is_left()


def test_a_hook_is_empty_at_once_even_while_somebody_has_its_link_open(left: Left) -> None:
    (pin,) = [each for each in (left.bpf_root / "v1/links").iterdir() if "from_netdev" in each.name]
    handle = syscall.obj_get(pin)
    try:
        assert left.asked("--force")["clean"]
        assert left.hooks("eth0") == []
    finally:
        os.close(handle)


def test_it_can_end_after_any_step_and_the_next_run_finishes(left: Left) -> None:
    def step() -> bool:
        with cleanup.without_agent(left.places):
            planned = leftovers.plan(cleanup.look(left.places)).remove
            assert not planned or cleanup.remove(planned[0]) == ""
            return bool(planned)

    steps = 0
    while within(left.node, step):
        steps += 1
        assert steps < 100
    assert steps > len(MAPS)
    assert left.asked("--force")["items"] == []
    left.nothing_is_left()


async def test_killed_in_the_middle_it_is_finished_by_the_next_run(left: Left) -> None:
    before = len(pinned(left.bpf_root))
    inside = ("nsenter", f"--net=/run/netns/{left.node}", sys.executable, "-m", "cli.dbg")
    process = subprocess.Popen([*inside, *left.command("--force")], stdout=subprocess.DEVNULL)
    try:
        await eventually(lambda: len(pinned(left.bpf_root)) < before, 20, 0.0005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    assert left.asked("--force")["clean"]
    left.nothing_is_left()


@pytest.mark.parametrize("gone", ["endpoints", "links", "programs", "root", "devices"])
async def test_what_somebody_else_has_half_removed_is_finished(left: Left, gone: str) -> None:
    version = left.bpf_root / "v1"
    if gone == "endpoints":
        for file in endpoints.files(left.state / endpoints.FILE):
            file.unlink(missing_ok=True)
    elif gone in ("links", "programs"):
        for pin in (version / {"links": "links", "programs": "progs"}[gone]).iterdir():
            pin.unlink()
    elif gone == "root":
        loader.unload(left.bpf_root)
    else:
        for device in (VXLAN, HOST, "lxc1"):
            ip("link", "del", device, namespace=left.node)
    if gone in ("links", "root"):  # the kernel empties a hook some time after its last pin has gone
        hooks = [(device, hook) for device in (VXLAN, "eth0", "lxc1") for hook in TCX]
        await eventually(lambda: not any(left.hooks(*hook) for hook in hooks), 20)
    assert left.asked("--force")["clean"]
    left.nothing_is_left()


@contextmanager
def holding(left: Left, lock: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Somebody has it in the node's network namespace."""
    with ExitStack() as stack:
        within(left.node, lambda: stack.enter_context(lock()))
        yield


def test_while_an_agent_runs_it_refuses_whatever_it_is_told(left: Left, tmp_path: Path) -> None:
    before = pinned(left.bpf_root)
    elsewhere = replace(left, state=tmp_path / "elsewhere")
    with holding(left, nodelock.held_by_agent), holding(left, nodelock.held_by_agent):
        for options in (("--force",), ("--dry-run",)):
            for asked in (left, elsewhere):
                done = asked.run(*options)
                assert (done.exit_code, done.stdout) == (1, "")
                assert "an agent runs on this node" in done.stderr
    with holding(left, nodelock.held_by_cleanup):
        assert "another clean-up" in left.run("--force").stderr
    assert pinned(left.bpf_root) == before
    assert VXLAN in left.links()


def test_an_agent_of_an_older_version_is_told_by_its_socket(left: Left) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(left.socket))
        server.listen()
        done = left.run("--force")
        assert (done.exit_code, VXLAN in left.links()) == (1, True)
        assert f"it answers at {left.socket}" in done.stderr
    assert left.asked("--force")["clean"]  # the file is still there, but nobody listens
    left.nothing_is_left()


def test_no_agent_starts_while_it_works(left: Left) -> None:
    agent = [
        *("nsenter", f"--net=/run/netns/{left.node}", sys.executable, "-m", "agent"),
        *("--cluster-name=east", "--cluster-id=1", f"--socket-path={left.socket}"),
    ]
    with holding(left, nodelock.held_by_cleanup):
        done = subprocess.run(agent, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith("clustermesh-agent: a clean-up of this node is at work")
    assert len(done.stderr.splitlines()) == 1


SQUAT = """
import socket
held = socket.socket(socket.AF_UNIX)
held.bind("\\0clustermesh-cleanup/x")
held.listen()
print("held", flush=True)
input()
"""


def test_a_name_that_is_not_roots_keeps_nobody_from_work(left: Left) -> None:
    nobody = ("setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c", SQUAT)
    command = ["nsenter", f"--net=/run/netns/{left.node}", *nobody]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as squatter:
        try:
            assert squatter.stdout is not None
            assert squatter.stdout.readline() == "held\n"
            with holding(left, nodelock.held_by_agent):
                assert "an agent runs" in left.run("--force").stderr
            assert left.asked("--force")["clean"]
        finally:
            squatter.kill()
    left.nothing_is_left()


def test_without_force_it_asks(left: Left) -> None:
    for answer in ("", "n\n"):
        done = left.run(answer=answer)
        assert done.exit_code == 1
        assert "cilium_vxlan" in done.stdout
        assert "nothing was removed" in done.stderr
    assert VXLAN in left.links()
    assert left.run(answer="y\n").exit_code == 0
    left.nothing_is_left()


def test_bpf_state_only_leaves_devices_routes_and_records(left: Left) -> None:
    assert left.asked("--force", "--bpf-state")["clean"]
    assert not left.bpf_root.exists()
    assert {VXLAN, HOST, "lxc1"} < left.links()
    assert {OTHERS, FOREIGN_ROUTE} < left.routes()
    assert endpoints.read(left.state / endpoints.FILE).endpoints
    left.asked("--force")
    left.nothing_is_left()


def test_foreign_pins_files_and_devices_stay(left: Left) -> None:
    other = left.bpf_root / "v1/maps/somebodys"
    handle = syscall.map_create(2, 4, 4, 1)
    syscall.obj_pin(handle, other)
    os.close(handle)
    note = left.state / "note"
    note.write_text("mine")
    with ciliums_tunnel(left):
        done = left.asked("--force")
        assert done["clean"]
        assert {(each["kind"], each["name"]) for each in done["kept"]} == {
            ("map", str(other)),
            ("device", VXLAN),
        }
        assert VXLAN in left.links()
    assert pinned(left.bpf_root) == ["v1/maps/somebodys"]
    assert [each.name for each in left.state.iterdir()] == ["note"]
    assert left.routes() == {FOREIGN_ROUTE, FOREIGN_ROUTE6}
    other.unlink()
    note.unlink()
    assert left.asked("--force")["clean"]
    assert not left.bpf_root.exists()


@contextmanager
def ciliums_tunnel(left: Left) -> Iterator[None]:
    """A tunnel device that has our name but is Cilium's."""
    ip("link", "del", VXLAN, namespace=left.node)
    tunnel = ("type", "vxlan", "external", "dstport", "8472")
    ip("link", "add", VXLAN, *tunnel, namespace=left.node)
    yield
    ip("link", "del", VXLAN, namespace=left.node)


def test_a_device_of_ours_that_others_use_stays_and_is_told(left: Left) -> None:
    with strangers(left, VXLAN), strangers(left, "lxc1"):
        done = left.asked("--force", status=1)
        assert "lxc1" not in left.links()  # a pod must not be open, and others know that pods end
        assert [(each["name"], each["ours"]) for each in done["kept"]] == [(VXLAN, True)]
        assert len(left.hooks(VXLAN)) == 1
    assert left.asked("--force")["clean"]
    left.nothing_is_left()


def test_where_not_everything_can_be_seen_it_refuses(left: Left, tmp_path: Path) -> None:
    with namespace("beside") as elsewhere:
        done = left.run("--force", node=elsewhere)
    assert (done.exit_code, "hostNetwork: true" in done.stderr) == (1, True)
    done = left.run("--force", bpf_root=tmp_path)
    assert (done.exit_code, "mount -t bpf bpf /sys/fs/bpf" in done.stderr) == (1, True)
    assert VXLAN in left.links()


def test_json_without_an_answer_is_a_usage_error(left: Left) -> None:
    assert left.run("-o", "json").exit_code == 2
