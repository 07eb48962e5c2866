from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.addressing import ClusterID
from mesh.localservice import Frontend, LocalBackend
from mesh.matching import Backend, ServicePort
from mesh.preference import Affinity, affinity, is_global, is_shared
from mesh.service import GlobalService, Port
from tests.mesh.whole import WholeService, backends_for

GLOBAL, SHARED, AFFINITY = (f"service.cilium.io/{name}" for name in ("global", "shared", "affinity"))
HTTP = ServicePort("http", "TCP", 80)
FRONTEND = Frontend("172.20.1.1", 80, "TCP")
NEAR = Backend("10.1.0.1", 8080, "TCP", 0)
FAR = Backend("10.2.0.1", 8081, "TCP", 2)


def local(
    annotations: Mapping[str, str], *states: str, ports: tuple[ServicePort, ...] = (HTTP,)
) -> WholeService:
    backends = tuple(
        LocalBackend(f"10.1.0.{number}", {"http": Port("TCP", 8080)}, state)  # type: ignore[arg-type]
        for number, state in enumerate(states, 1)
    )
    return WholeService("shop", "web", annotations, ("172.20.1.1",), ports, backends=backends)


def remote(
    backends: Mapping[str, dict[str, Port]] | None = None,
    cluster: int = 2,
    name: str = "web",
    shared: bool = True,
) -> GlobalService:
    given_ones = {"10.2.0.1": {"http": Port("TCP", 8081)}} if backends is None else dict(backends)
    frontends = {"172.20.2.1": {"http": Port("TCP", 80)}}
    return GlobalService(
        "west", "shop", name, frontends, given_ones, shared=shared, cluster_id=ClusterID(cluster)
    )


def chosen(service: WholeService, *remotes: GlobalService) -> set[Backend]:
    return set(backends_for(service, remotes)[FRONTEND])


@pytest.mark.parametrize("text", ["true", "True", "TRUE"])
def test_true_in_any_case_is_global(text: str) -> None:
    assert is_global({GLOBAL: text})
    assert is_global({"io.cilium/global-service": text})


@pytest.mark.parametrize("annotations", [{}, {GLOBAL: "yes"}, {GLOBAL: "1"}, {GLOBAL: ""}, {GLOBAL: " true"}])
def test_everything_else_is_not(annotations: dict[str, str]) -> None:
    assert not is_global(annotations)
    assert not is_shared({**annotations, SHARED: "true"})


def test_the_older_name_counts_only_without_the_newer_one() -> None:
    assert not is_global({GLOBAL: "false", "io.cilium/global-service": "true"})
    assert not is_shared({GLOBAL: "true", "io.cilium/shared-service": "false"})
    assert is_shared({GLOBAL: "true", SHARED: "true", "io.cilium/shared-service": "false"})


@pytest.mark.parametrize(
    ("text", "shared"), [("true", True), ("TRUE", True), ("false", False), ("yes", False)]
)
def test_a_global_service_is_shared_unless_it_says_otherwise(text: str, shared: bool) -> None:
    assert is_shared({GLOBAL: "true"})
    assert is_shared({GLOBAL: "true", SHARED: text}) == shared


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("Local", Affinity.LOCAL), ("REMOTE", Affinity.REMOTE), ("none", Affinity.NONE), ("far", Affinity.NONE)],
)
def test_affinity_is_read_in_any_case(text: str, wanted: Affinity) -> None:
    assert affinity({GLOBAL: "true", AFFINITY: text}) is wanted
    assert affinity({GLOBAL: "true", "io.cilium/service-affinity": text}) is wanted
    assert affinity({AFFINITY: text}) is Affinity.NONE


@given(st.tuples(st.booleans(), st.booleans()), st.tuples(st.booleans(), st.booleans()))
def test_two_clusters_use_each_other_when_both_are_global_and_the_other_shares(
    ours: tuple[bool, bool], theirs: tuple[bool, bool]
) -> None:
    ours_says, theirs_says = ({GLOBAL: str(is_on), SHARED: str(shares)} for is_on, shares in (ours, theirs))
    published = [remote()] if is_shared(theirs_says) else []
    both = ours[0] and theirs[0]
    assert chosen(local(ours_says, "active"), *published) == ({NEAR, FAR} if both and theirs[1] else {NEAR})


def test_a_service_that_is_not_shared_after_all_takes_no_part() -> None:
    assert chosen(local({GLOBAL: "true"}, "active"), remote(shared=False)) == {NEAR}


LEAVING = Backend("10.1.0.1", 8080, "TCP", 0)


@pytest.mark.parametrize(
    ("preference", "states", "has_remote", "wanted"),
    [
        ("none", ["active"], True, {NEAR, FAR}),
        ("none", [], True, {FAR}),
        ("none", ["active"], False, {NEAR}),
        ("none", ["terminating"], True, {FAR}),
        ("none", ["terminating"], False, {LEAVING}),
        ("local", ["active"], True, {NEAR}),
        ("local", [], True, {FAR}),
        ("local", ["terminating"], True, {FAR}),
        ("local", ["terminating"], False, {LEAVING}),
        ("remote", ["active"], True, {FAR}),
        ("remote", ["active"], False, {NEAR}),
        ("remote", ["terminating"], False, {LEAVING}),
        ("remote", [], True, {FAR}),
        ("remote", [], False, set()),
    ],
)
def test_affinity_prefers_and_never_strands(
    preference: str, states: list[str], has_remote: bool, wanted: set[Backend]
) -> None:
    service = local({GLOBAL: "true", AFFINITY: preference}, *states)
    assert chosen(service, *([remote()] if has_remote else [])) == wanted


def test_affinity_says_nothing_while_the_service_is_not_global() -> None:
    assert chosen(local({AFFINITY: "remote"}, "active"), remote()) == {NEAR}


def test_what_ends_serves_only_while_nothing_else_does() -> None:
    assert chosen(local({}, "terminating", "active")) == {Backend("10.1.0.2", 8080, "TCP", 0)}


def test_ports_are_matched_by_name_and_protocol() -> None:
    ports = (HTTP, ServicePort("dns", "UDP", 53), ServicePort("other", "TCP", 9))
    backends = {
        "10.2.0.1": {"http": Port("TCP", 1), "dns": Port("UDP", 2)},
        "10.2.0.2": {"dns": Port("TCP", 3), "": Port("TCP", 4)},
    }
    result = backends_for(local({GLOBAL: "true"}, ports=ports), [remote(backends)])
    assert {frontend.port: [(b.ip, b.port) for b in found] for frontend, found in result.items()} == {
        80: [("10.2.0.1", 1)],
        53: [("10.2.0.1", 2)],
        9: [],
    }


def test_an_unnamed_port_matches_unnamed_ones() -> None:
    service = local({GLOBAL: "true"}, ports=(ServicePort("", "TCP", 80),))
    backends = {"10.2.0.1": {"": Port("TCP", 8081)}, "10.2.0.2": {"http": Port("TCP", 8081)}}
    assert chosen(service, remote(backends)) == {FAR}


def test_each_family_has_its_own_backends_in_canonical_text() -> None:
    service = WholeService("shop", "web", {GLOBAL: "true"}, ("172.20.1.1", "fd00::a"), (HTTP,))
    port = {"http": Port("TCP", 8081)}
    result = backends_for(service, [remote({"10.2.0.1": port, "FD00:0:0::1": port, "::ffff:10.2.0.9": port})])
    assert [backend.ip for backend in result[FRONTEND]] == ["10.2.0.1", "10.2.0.9"]
    assert [backend.ip for backend in result[Frontend("fd00::a", 80, "TCP")]] == ["fd00::1"]


def test_other_services_take_no_part() -> None:
    assert chosen(local({GLOBAL: "true"}, "active"), remote(name="api")) == {NEAR}


def test_our_own_word_on_an_address_counts_then_the_lowest_clusters() -> None:
    port = {"http": Port("TCP", 8080)}
    claims = [remote({"10.1.0.1": port, "10.9.0.1": port}, cluster) for cluster in (4, 3)]
    assert chosen(local({GLOBAL: "true"}, "active"), *claims) == {NEAR, Backend("10.9.0.1", 8080, "TCP", 3)}


def test_a_headless_service_has_no_frontend() -> None:
    assert backends_for(WholeService("shop", "web", {GLOBAL: "true"}, (), (HTTP,)), [remote()]) == {}


port_maps = st.dictionaries(
    st.sampled_from(["http", "dns", ""]),
    st.builds(Port, st.sampled_from(["TCP", "UDP"]), st.integers(1, 3)),
    max_size=3,
)
remotes = st.lists(
    st.builds(
        remote,
        st.dictionaries(st.sampled_from(["10.2.0.1", "10.2.0.2", "fd00::1", "10.1.0.1"]), port_maps),
        st.integers(2, 5),
        st.sampled_from(["web", "api"]),
        st.booleans(),
    ),
    max_size=4,
)
locals_ = st.builds(
    lambda annotations, states: local(annotations, *states, ports=(HTTP, ServicePort("dns", "UDP", 53))),
    st.dictionaries(
        st.sampled_from([GLOBAL, SHARED, AFFINITY]), st.sampled_from(["true", "local", "remote"])
    ),
    st.lists(st.sampled_from(["active", "terminating"]), max_size=3),
)


@given(locals_, remotes, st.randoms(use_true_random=False))
def test_the_order_in_which_peers_speak_does_not_matter(
    service: WholeService, items: list[GlobalService], random: object
) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert backends_for(service, shuffled) == backends_for(service, items)


@given(locals_, remotes)
def test_backends_are_unique_and_of_the_frontends_kind(
    service: WholeService, items: list[GlobalService]
) -> None:
    for frontend, found in backends_for(service, items).items():
        assert len({(backend.ip, backend.port) for backend in found}) == len(found)
        assert all(backend.protocol == frontend.protocol and ":" not in backend.ip for backend in found)


@given(locals_, remotes)
def test_preferring_a_side_never_leaves_a_frontend_without_backends(
    service: WholeService, items: list[GlobalService]
) -> None:
    plain = {name: text for name, text in service.annotations.items() if name != AFFINITY}
    without = WholeService(
        service.namespace, service.name, plain, service.cluster_ips, service.ports, backends=service.backends
    )
    for frontend, found in backends_for(without, items).items():
        assert bool(backends_for(service, items)[frontend]) == bool(found)


WEST = Backend("10.2.0.1", 8081, "TCP", 2)
NORTH = Backend("10.3.0.1", 8081, "TCP", 3)
OWN_NAMES = {name: f"service.clustermesh.io/{name}" for name in ("weights", "cluster-preference")}
MINIMUM = "service.clustermesh.io/minimum-local-backends"
CLUSTERS = {2: "west", 3: "north"}


def told(cluster: int, *ips: str) -> GlobalService:
    backends = {ip: {"http": Port("TCP", 8081)} for ip in ips or (f"10.{cluster}.0.1",)}
    return replace(remote(backends, cluster), cluster=CLUSTERS[cluster])


def served(
    service: WholeService, *remotes: GlobalService, withdrawn: Collection[str] = frozenset()
) -> tuple[Backend, ...]:
    return backends_for(service, remotes, own="east", node="node-1", withdrawn=withdrawn)[FRONTEND]


def wishing(**annotations: str) -> dict[str, str]:
    return {GLOBAL: "true"} | {OWN_NAMES[name.replace("_", "-")]: text for name, text in annotations.items()}


@pytest.mark.parametrize(
    ("count", "wanted"), [(0, {WEST}), (1, {NEAR, WEST}), (2, {NEAR, NEAR._replace(ip="10.1.0.2")})]
)
def test_below_the_minimum_of_local_backends_the_others_join_in(count: int, wanted: set[Backend]) -> None:
    service = local({GLOBAL: "true", MINIMUM: "2"}, *["active"] * count)
    assert set(served(service, told(2))) == wanted


def test_backends_that_are_ending_do_not_make_up_the_minimum() -> None:
    service = local({GLOBAL: "true", MINIMUM: "2"}, "active", "terminating")
    assert set(served(service, told(2))) == {NEAR, WEST}


@pytest.mark.parametrize(
    ("order", "states", "wanted"),
    [
        ("north,west", ["active"], {NORTH}),
        ("local,north", ["active"], {NEAR}),
        ("east,north", ["active"], {NEAR}),
        ("local,north", [], {NORTH}),
        ("south,local", ["active"], {NEAR}),
        ("south", ["active"], {NEAR, WEST, NORTH}),
        ("*,local", ["active"], {WEST, NORTH}),
    ],
)
def test_the_first_cluster_of_the_order_that_has_backends_serves(
    order: str, states: list[str], wanted: set[Backend]
) -> None:
    service = local(wishing(cluster_preference=order), *states)
    assert set(served(service, told(2), told(3))) == wanted


def test_the_next_in_the_order_serves_when_the_first_does_not_answer() -> None:
    service = local(wishing(cluster_preference="north,west,local"), "active")
    assert served(service, told(2), told(3), withdrawn={"10.3.0.1"}) == (WEST,)


def weights_of(found: tuple[Backend, ...]) -> dict[int, set[int]]:
    weights: dict[int, set[int]] = {}
    for backend in found:
        weights.setdefault(backend.cluster_id, set()).add(backend.weight)
    return weights


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("local=80,west=20", {0: {4}, 2: {1}}),
        ("east=1,west=1,north=2", {0: {1}, 2: {1}, 3: {2}}),
        ("local=1,*=3", {0: {1}, 2: {3}, 3: {3}}),
        ("west=5", {2: {0}}),
        ("south=5", {0: {0}, 2: {0}, 3: {0}}),
        ("local=1000,west=1,north=1", {0: {128}, 2: {1}, 3: {1}}),
    ],
)
def test_weights_are_shares_of_clusters(text: str, wanted: dict[int, set[int]]) -> None:
    service = local(wishing(weights=text), "active")
    assert weights_of(served(service, told(2, "10.2.0.1", "10.2.0.2"), told(3))) == wanted


def test_a_cluster_of_weight_zero_serves_when_no_other_does() -> None:
    assert served(local(wishing(weights="local=1,west=0")), told(2)) == (WEST,)


def test_backends_that_do_not_answer_are_left_out_while_others_do() -> None:
    service = local({GLOBAL: "true"}, "active")
    assert served(service, told(2, "10.2.0.1", "10.2.0.2"), withdrawn={"10.2.0.2"}) == (NEAR, WEST)


def test_what_is_ending_at_home_goes_before_what_does_not_answer() -> None:
    assert served(local({GLOBAL: "true"}, "terminating"), told(2), withdrawn={"10.2.0.1"}) == (LEAVING,)


def test_when_nothing_answers_everything_stays() -> None:
    assert served(local({GLOBAL: "true"}), told(2), withdrawn={"10.2.0.1"}) == (WEST,)


def test_our_own_backends_are_not_ours_to_withdraw() -> None:
    assert served(local({GLOBAL: "true"}, "active"), withdrawn={"10.1.0.1"}) == (NEAR,)


def test_a_service_for_each_nodes_own_clients_uses_that_nodes_backends_only() -> None:
    service = local({GLOBAL: "true"}, "active", "active")
    backends = (replace(service.backends[0], node="node-1"), replace(service.backends[1], node="node-2"))
    assert served(replace(service, node_only=True, backends=backends), told(2)) == (NEAR,)


WISHES = st.fixed_dictionaries(
    {GLOBAL: st.just("true")},
    optional={
        AFFINITY: st.sampled_from(["local", "remote"]),
        MINIMUM: st.sampled_from(["1", "2", "9"]),
        OWN_NAMES["weights"]: st.sampled_from(["local=1", "local=3,west=1", "west=0", "*=2"]),
        OWN_NAMES["cluster-preference"]: st.sampled_from(["local", "west,local", "*,east"]),
    },
)
TOLD = st.lists(
    st.builds(
        lambda cluster, ips: told(cluster, *ips),
        st.sampled_from([2, 3]),
        st.lists(st.sampled_from(["10.2.0.1", "10.2.0.2", "10.1.0.1"]), max_size=3),
    ),
    max_size=2,
    unique_by=lambda service: service.cluster,
)
WITHDRAWN = st.sets(st.sampled_from(["10.2.0.1", "10.2.0.2", "10.1.0.1"]))
STATES = st.lists(st.sampled_from(["active", "terminating"]), max_size=3)


@given(WISHES, STATES, TOLD, WITHDRAWN)
def test_no_wish_and_no_doubt_leaves_a_frontend_without_backends(
    wishes: dict[str, str], states: list[str], remotes: list[GlobalService], withdrawn: set[str]
) -> None:
    anything = served(local({GLOBAL: "true"}, *states), *remotes)
    found = served(local(wishes, *states), *remotes, withdrawn=withdrawn)
    assert bool(found) == bool(anything)
    # weights: all clusters have a share, or none has
    assert len({backend.weight == 0 for backend in found}) <= 1


@given(WISHES, STATES, TOLD, WITHDRAWN)
def test_a_backend_in_doubt_only_serves_when_nothing_else_could(
    wishes: dict[str, str], states: list[str], remotes: list[GlobalService], withdrawn: set[str]
) -> None:
    found = served(local(wishes, *states), *remotes, withdrawn=withdrawn)
    doubted = {backend for backend in found if backend.cluster_id and backend.ip in withdrawn}
    if doubted:
        assert not states
        assert all(backend.cluster_id and backend.ip in withdrawn for backend in found)


def test_the_minimum_holds_within_an_order_too() -> None:
    service = local(wishing(cluster_preference="local,north") | {MINIMUM: "2"}, "active")
    assert set(served(service, told(2), told(3))) == {NEAR, NORTH}


def test_an_address_that_is_ours_is_used_whatever_is_said_of_others() -> None:
    service = local({GLOBAL: "true"}, "active")
    assert served(service, told(2), withdrawn={"10.1.0.1"}) == (NEAR, WEST)


def test_a_cluster_whose_name_is_not_known_yet_stands_with_the_first() -> None:
    unnamed = replace(told(2), cluster="")
    service = local(wishing(cluster_preference="west,local"), "active")
    assert served(service, unnamed) == (WEST,)
