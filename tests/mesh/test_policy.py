from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.addressing import Identity
from mesh.errors import PolicyError
from mesh.identity import Labels, parse_labels
from mesh.policy import EndpointPolicy, PolicyEntry, Scope, parse_policy, resolve
from mesh.portrange import port_blocks
from mesh.service import Port


def pod(app: str, cluster: str = "east", namespace: str = "shop") -> Labels:
    return parse_labels(
        f"k8s:app={app};k8s:io.cilium.k8s.policy.cluster={cluster};k8s:io.kubernetes.pod.namespace={namespace};"
    )


WEB = pod("web")
NEAR, FAR, ELSEWHERE, OTHER = 65536, 131072, 65537, 65538
IDENTITIES = {
    Identity(NEAR): pod("client"),
    Identity(FAR): pod("client", cluster="west"),
    Identity(ELSEWHERE): pod("client", namespace="test"),
    Identity(OTHER): pod("other"),
}
HOST = PolicyEntry(1, 0, 0, False)
CLIENT = {"matchLabels": {"app": "client"}}
ANY_CLUSTER = {
    "matchLabels": {"app": "client"},
    "matchExpressions": [{"key": "io.cilium.k8s.policy.cluster", "operator": "Exists"}],
}
TCP80 = [{"ports": [{"port": "80", "protocol": "TCP"}]}]


def policy(subject: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    selector = {"matchLabels": {"app": "web"}} if subject is None else subject
    return {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"endpointSelector": selector, **spec}}


def resolved(*objects: dict[str, Any], labels: Labels = WEB, **options: Any) -> EndpointPolicy:
    return resolve([parse_policy(item) for item in objects], labels, Scope(IDENTITIES, "east", **options))


def peers(*objects: dict[str, Any], **options: Any) -> set[int]:
    """Identities with an allow on every port, beyond the host's."""
    result = resolved(*objects, **options)
    assert result.ingress_enforced
    return {entry.identity for entry in result.entries if entry[1:4] == (0, 0, False)} - {1}


def test_without_a_policy_everybody_may_connect() -> None:
    assert resolved() == EndpointPolicy(False)


def test_a_policy_of_others_says_nothing() -> None:
    assert resolved(policy({"matchLabels": {"app": "api"}}, ingress=[{}])) == EndpointPolicy(False)
    assert resolved(policy(ingress=[{}]), labels=pod("web", namespace="test")) == EndpointPolicy(False)


def test_a_policy_that_allows_nothing_closes_all_but_the_node() -> None:
    assert resolved(policy(ingress=[{}])) == EndpointPolicy(True, frozenset({HOST}))


def test_a_policy_without_ingress_rules_leaves_ingress_open() -> None:
    assert resolved(policy(egress=[{}])) == EndpointPolicy(False, frozenset(), True)
    assert resolved(policy(ingress=[])) == EndpointPolicy(False)


def test_a_selector_means_the_policys_namespace_and_our_cluster() -> None:
    assert peers(policy(ingress=[{"fromEndpoints": [CLIENT]}])) == {NEAR}


def test_a_selector_may_mean_other_clusters() -> None:
    west = {"matchLabels": {"app": "client", "k8s:io.cilium.k8s.policy.cluster": "west"}}
    assert peers(policy(ingress=[{"fromEndpoints": [west]}])) == {FAR}
    assert peers(policy(ingress=[{"fromEndpoints": [ANY_CLUSTER]}])) == {NEAR, FAR}
    assert peers(policy(ingress=[{"fromEndpoints": [CLIENT]}]), default_local_cluster=False) == {NEAR, FAR}


def test_a_selector_may_mean_other_namespaces() -> None:
    said = {"matchExpressions": [{"key": "k8s:io.kubernetes.pod.namespace", "operator": "Exists"}]}
    assert peers(policy(ingress=[{"fromEndpoints": [said]}])) == {NEAR, ELSEWHERE, OTHER}


def test_an_empty_selector_means_all_of_the_namespace_and_an_empty_list_nobody() -> None:
    assert peers(policy(ingress=[{"fromEndpoints": [{}]}])) == {NEAR, OTHER}
    assert peers(policy(ingress=[{"fromEndpoints": []}])) == set()
    assert peers(policy(ingress=[{"fromEndpoints": [], "toPorts": TCP80}])) == set()


@pytest.mark.parametrize(
    ("entity", "numbers"),
    [
        ("all", {0}),
        ("none", set()),
        ("world", {2, 9, 10}),
        ("world-ipv4", {2, 9}),
        ("host", set()),
        ("remote-node", {6, 7}),
        ("kube-apiserver", {7}),
        ("health", {4}),
        ("cluster", {3, 4, 5, 6, 7, 8, NEAR, ELSEWHERE, OTHER}),
        ("cluster-mesh", {3, 4, 5, 6, 7, 8, NEAR, FAR, ELSEWHERE, OTHER}),
    ],
)
def test_entities_are_sets_of_identities(entity: str, numbers: set[int]) -> None:
    assert peers(policy(ingress=[{"fromEntities": [entity]}])) == numbers


def entries(*objects: dict[str, Any], **options: Any) -> set[PolicyEntry]:
    return set(resolved(*objects, **options).entries) - {HOST}


@pytest.mark.parametrize(
    ("ports", "pairs"),
    [
        ([{"port": "80", "protocol": "TCP"}], {(80, 6)}),
        ([{"port": "53", "protocol": "udp"}], {(53, 17)}),
        ([{"port": "80"}], {(80, 6), (80, 17), (80, 132)}),
        ([{"port": "80", "protocol": "ANY"}], {(80, 6), (80, 17), (80, 132)}),
        ([{"port": "0", "protocol": "TCP"}], {(0, 6)}),
        ([{"protocol": "SCTP"}], {(0, 132)}),
        ([{"port": "0", "protocol": "ANY"}], {(0, 0)}),
        ([], {(0, 0)}),
        ([{"port": "81", "endPort": 83, "protocol": "TCP"}], {(81, 6), (82, 6), (83, 6)}),
        ([{"port": "1", "endPort": 65535, "protocol": "TCP"}], {(0, 6)}),
        ([{"port": "http", "protocol": "TCP"}], {(8080, 6)}),
        ([{"port": "http"}], {(8080, 6)}),
        ([{"port": "http", "protocol": "UDP"}], set()),
        ([{"port": "unknown", "protocol": "TCP"}], set()),
    ],
)
def test_ports_are_numbers_ranges_and_the_pods_names(ports: Any, pairs: set[tuple[int, int]]) -> None:
    said = policy(ingress=[{"fromEndpoints": [CLIENT], "toPorts": [{"ports": ports}]}])
    found = entries(said, named_ports={"http": (Port("TCP", 8080),)})
    assert found == {PolicyEntry(NEAR, *pair, False) for pair in pairs}


def test_ports_without_peers_are_open_to_everybody() -> None:
    assert entries(policy(ingress=[{"toPorts": TCP80}])) == {PolicyEntry(0, 80, 6, False)}


def test_a_deny_of_the_same_takes_the_allow_out() -> None:
    rule = {"fromEndpoints": [ANY_CLUSTER]}
    found = entries(policy(ingress=[rule], ingressDeny=[{"fromEndpoints": [CLIENT]}]))
    assert found == {PolicyEntry(NEAR, 0, 0, True), PolicyEntry(FAR, 0, 0, False)}


def test_policies_add_up() -> None:
    one, other = policy(ingress=[{"fromEndpoints": [CLIENT]}]), policy(ingress=[{"toPorts": TCP80}])
    assert entries(one, other) == entries(one) | entries(other)
    assert entries({**one, "spec": None, "specs": [one["spec"], other["spec"]]}) == entries(one, other)


def test_a_deny_without_default_deny_closes_nothing_else() -> None:
    said = policy(ingressDeny=[{"fromEndpoints": [CLIENT]}], enableDefaultDeny={"ingress": False})
    assert entries(said) == {PolicyEntry(0, 0, 0, False), PolicyEntry(NEAR, 0, 0, True)}
    alone = policy(ingress=[{"fromEndpoints": [CLIENT]}], enableDefaultDeny={"ingress": False})
    assert resolved(alone) == EndpointPolicy(False)


def allowed(result: EndpointPolicy, identity: int, port: int, protocol: int, egress: bool = False) -> bool:
    """What the kernel's program does: every width is asked, and a deny of any width wins."""
    blocks = [(port >> bits << bits, protocol, bits) for bits in (0, 4, 8, 12)]
    widths = [(i, *block) for i in (identity, 0) for block in (*blocks, (0, protocol, 0), (0, 0, 0))]
    denies = [
        entry.deny
        for entry in result.entries
        if entry.egress is egress and (*entry[:3], entry.open_bits) in widths
    ]
    enforced = result.egress_enforced if egress else result.ingress_enforced
    return not enforced or (bool(denies) and not any(denies))


def test_egress_is_ingress_the_other_way_round_but_the_node_is_not_free() -> None:
    said = policy(egress=[{"toEndpoints": [CLIENT], "toPorts": TCP80}, {"toEntities": ["host"]}])
    assert resolved(said) == EndpointPolicy(
        False,
        frozenset({PolicyEntry(NEAR, 80, 6, False, True), PolicyEntry(1, 0, 0, False, True)}),
        True,
    )
    assert not allowed(resolved(policy(egress=[{}])), 1, 80, 6, egress=True)
    closed = resolved(policy(ingress=[{"fromEndpoints": [CLIENT]}], egressDeny=[{"toEndpoints": [CLIENT]}]))
    assert allowed(closed, NEAR, 80, 6)
    assert not allowed(closed, NEAR, 80, 6, egress=True)


def test_an_egress_deny_without_default_deny_closes_nothing_else() -> None:
    said = policy(egressDeny=[{"toEndpoints": [CLIENT]}], enableDefaultDeny={"egress": False})
    assert allowed(resolved(said), OTHER, 80, 6, egress=True)
    assert not allowed(resolved(said), NEAR, 80, 6, egress=True)


def test_a_name_means_the_ports_of_whoever_is_connected_to() -> None:
    ports = {Identity(NEAR): {"http": (Port("TCP", 8080), Port("TCP", 9090))}, Identity(OTHER): {}}
    to_names = {"toPorts": [{"ports": [{"port": "http", "protocol": "TCP"}]}]}
    said = policy(egress=[{"toEndpoints": [{}], **to_names}])
    wanted = {PolicyEntry(NEAR, 8080, 6, False, True), PolicyEntry(NEAR, 9090, 6, False, True)}
    assert set(resolved(said, peer_ports=ports).entries) == wanted
    assert set(resolved(policy(egress=[to_names]), peer_ports=ports).entries) == wanted
    assert resolved(said, named_ports={"http": (Port("TCP", 8080),)}).entries == frozenset()


def test_the_names_may_be_in_the_identitys_labels() -> None:
    far = (
        *pod("api", cluster="west"),
        *parse_labels("gen:io.cilium.k8s.named-ports=http.TCP.81_dns.UDP.53;"),
    )
    said = policy(egress=[{"toEntities": ["cluster-mesh"], "toPorts": [{"ports": [{"port": "dns"}]}]}])
    found = resolve([parse_policy(said)], WEB, Scope({Identity(FAR): far}, "east")).entries
    assert found == {PolicyEntry(FAR, 53, 17, False, True)}


def test_icmp_has_types_in_place_of_ports() -> None:
    fields = [{"type": 8}, {"type": "EchoReply", "family": "IPv4"}]
    six = [{"type": 128, "family": "IPv6"}, {"type": "EchoReply", "family": "IPv6"}]
    said = policy(ingress=[{"fromEndpoints": [CLIENT], "icmps": [{"fields": fields + six}]}])
    wanted = {PolicyEntry(NEAR, 256 + t, 1, False) for t in (8, 0)}
    assert entries(said) == wanted | {PolicyEntry(NEAR, 256 + t, 58, False) for t in (128, 129)}
    assert parse_policy(said).unsupported == ()


@pytest.mark.parametrize("field", [{"type": 8, "family": "IPv5"}, {"type": "Timestamp", "family": "IPv6"}])
def test_a_family_or_a_type_that_there_is_not_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        parse_policy(policy(ingress=[{"icmps": [{"fields": [field]}]}]))


@given(st.integers(1, 65535), st.integers(0, 65535), st.integers(0, 65535))
def test_a_range_allows_its_ports_and_no_other(first: int, length: int, asked: int) -> None:
    last = min(65535, first + length)
    ports = [{"port": str(first), "endPort": last, "protocol": "TCP"}]
    result = resolved(policy(ingress=[{"fromEndpoints": [CLIENT], "toPorts": [{"ports": ports}]}]))
    for port in (asked, first, last, first - 1, last + 1):
        if 0 < port < 65536:
            assert allowed(result, NEAR, port, 6) == (first <= port <= last)
    assert len(result.entries - {HOST}) <= len(list(port_blocks(1, 65534))) == 104


NETWORKS = {
    Identity((1 << 24) + n): IPv4Network(text)
    for n, text in enumerate(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "192.0.2.0/24"], 1)
}
TEN, PART, ONE, TEST = sorted(NETWORKS)


@pytest.mark.parametrize(
    ("section", "numbers"),
    [
        ({"toCIDR": ["10.0.0.0/8"]}, {TEN, PART, ONE}),
        ({"toCIDR": ["10.1.2.3"]}, {ONE}),
        ({"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]}, {TEN}),
        ({"toCIDRSet": [{"cidr": "10.1.0.0/16", "except": ["10.1.2.3/32"]}]}, {PART}),
        ({"toCIDRSet": [{"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}]}, {2, TEST}),
        ({"toCIDR": ["0.0.0.0/0"]}, {2, TEN, PART, ONE, TEST}),
        ({"toEntities": ["world"]}, {2, 9, 10, TEN, PART, ONE, TEST}),
        ({"toEntities": ["cluster"]}, {1, 3, 4, 5, 6, 7, 8, NEAR, ELSEWHERE, OTHER}),
        ({"toEndpoints": [{}]}, {NEAR, OTHER}),
        ({"toCIDR": ["2001:db8::/32"]}, set()),
        ({"toCIDRSet": [{"cidrGroupRef": "g"}]}, set()),
    ],
)
def test_prefixes_are_parts_of_the_world(section: dict[str, Any], numbers: set[int]) -> None:
    result = resolved(policy(egress=[section]), cidrs=NETWORKS)
    assert {entry.identity for entry in result.entries} == numbers


addresses = st.sampled_from([f"10.{a}.{b}.0" for a in (0, 1) for b in (0, 1)] + ["192.0.2.1"])
networks = st.builds(
    lambda address, bits: IPv4Network((address, bits), strict=False), addresses, st.integers(0, 32)
)


@given(st.lists(st.tuples(networks, st.lists(networks, max_size=2)), max_size=3), addresses)
def test_an_address_is_allowed_by_its_longest_prefix_as_by_the_policy_itself(
    said: list[tuple[IPv4Network, list[IPv4Network]]], address: str
) -> None:
    pairs = [(net, [e for e in excepts if e.subnet_of(net)]) for net, excepts in said]
    sets = [{"cidr": str(net), "except": [str(e) for e in excepts]} for net, excepts in pairs]
    parsed = parse_policy(policy(egress=[{"toCIDRSet": sets}]))
    named = {prefix for cidr in parsed.cidrs() for prefix in cidr.prefixes} - {IPv4Network("0.0.0.0/0")}
    numbers = {Identity((1 << 24) + n): prefix for n, prefix in enumerate(sorted(named), 1)}
    one = IPv4Address(address)
    around = [(prefix.prefixlen, number) for number, prefix in numbers.items() if one in prefix]
    identity = max(around)[1] if around else 2
    meant = any(one in net and not any(one in e for e in excepts) for net, excepts in pairs)
    result = resolve([parsed], WEB, Scope(IDENTITIES, "east", cidrs=numbers))
    assert allowed(result, identity, 80, 6, egress=True) == meant


selectors = st.sampled_from([CLIENT, ANY_CLUSTER, {}, {"matchLabels": {"app": "other"}}])
sections = st.fixed_dictionaries(
    {},
    optional={
        "fromEndpoints": st.lists(selectors, max_size=2),
        "fromEntities": st.lists(st.sampled_from(["all", "world", "cluster", "host"]), max_size=2),
        "toPorts": st.sampled_from([TCP80, [{"ports": [{"port": "80"}]}], [{"ports": []}]]),
    },
)
policies = st.lists(
    st.builds(
        lambda allow, deny: policy(ingress=allow, ingressDeny=deny),
        st.lists(sections, max_size=3),
        st.lists(sections, max_size=2),
    ),
    max_size=2,
)
questions = st.tuples(
    st.sampled_from([*map(int, IDENTITIES), 2, 6]), st.sampled_from([80, 81]), st.sampled_from([6, 17])
)


@given(policies, questions)
def test_a_deny_beats_every_allow(objects: list[dict[str, Any]], question: tuple[int, int, int]) -> None:
    spared = [{**item, "spec": {**item["spec"], "ingressDeny": []}} for item in objects]
    only = [{**item, "spec": {**item["spec"], "ingress": [{}]}} for item in objects]
    opened = policy(ingress=[{"fromEntities": ["all"]}])
    denied = not allowed(resolved(opened, *only), *question)
    expected = allowed(resolved(*spared, policy(ingress=[{}])), *question) and not denied
    if any(item["spec"]["ingress"] or item["spec"]["ingressDeny"] for item in objects):
        assert allowed(resolved(*objects), *question) == expected


@given(policies, st.sampled_from(sorted(IDENTITIES)))
def test_an_identitys_entries_do_not_depend_on_the_others(
    objects: list[dict[str, Any]], number: Identity
) -> None:
    parsed = [parse_policy(item) for item in objects]
    alone = resolve(parsed, WEB, Scope({number: IDENTITIES[number]}, "east")).entries
    together = resolve(parsed, WEB, Scope(IDENTITIES, "east")).entries
    assert {e for e in alone if e.identity == number} == {e for e in together if e.identity == number}


@given(policies)
def test_the_order_of_policies_does_not_matter(objects: list[dict[str, Any]]) -> None:
    assert resolved(*objects) == resolved(*reversed(objects))
