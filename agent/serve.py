"""The composition root: the only place where the agent's concrete parts meet.

Starts in written order. On the way out nothing is drained and nothing detached: the data path goes on
without us, and the next life takes it over.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

from agent import api, endpoints, healthaddress, netlink, peerloss, peernodes, servicename
from agent import node as own_node
from agent.agent import Agent
from agent.allocator import Allocator
from agent.backendprobing import BackendProbing
from agent.balancerhealth import BalancerHealth, everywhere
from agent.config import CONNECTS_AT_ONCE, CONNECTS_PER_SECOND, Config
from agent.datapath import Datapath
from agent.errors import ConfigError
from agent.hookcheck import HookCheck
from agent.interfaces import PodInterfaces
from agent.ipam import Addresses, Pools
from agent.k8s_sync import KubernetesSync
from agent.kernel import KernelMaps
from agent.lifecycle import Lifecycle
from agent.loadeddatapath import loaded_datapath
from agent.local import LocalNode
from agent.mapdump import dumps
from agent.mirrorwatch import MirrorWatch
from agent.monitor import Monitor
from agent.nodelock import held_by_agent
from agent.patience import give_up_waiting
from agent.peerstate import PeerState
from agent.podlookup import PodLookup
from agent.probing import Mesh, Probing
from agent.publisher import Publisher
from agent.routetable import Direct, RouteTable, Tunnelled
from agent.routing import Routing
from agent.tables import Tables
from agent.trace import Tracer
from agent.verify import Verifier
from aiokit.heap import giving_back
from aiokit.http import serve_tcp, serve_unix
from aiokit.signals import wait_terminated
from aiokit.tokenbucket import TokenBucket
from k8s import access
from k8s.client import Client, connect
from k8s.core import Node
from kvstore.metered import connecting
from mesh.routingmode import RoutingMode
from mesh.servicemode import imported
from peering.claimsfile import ClaimsFile
from peering.clusterids import ClusterIDs
from peering.peer import Peer
from peering.peers import Peers
from peering.times import PeerTimes

log = logging.getLogger(__name__)

ENDPOINTS_FILE = endpoints.FILE


async def serve(config: Config) -> None:
    """Run until SIGTERM or SIGINT."""
    agent = Agent(config.cluster.name, config.node_name)
    with held_by_agent():
        async with asyncio.TaskGroup() as group:
            work = group.create_task(_serve(config, agent), name="agent")
            await wait_terminated()
            log.info("ending; the data path stays as it is")
            work.cancel()


async def _serve(config: Config, agent: Agent) -> None:
    reach = access.load(config.kubeconfig, None) if config.kubeconfig else access.in_cluster()
    async with connect(reach) as client, serve_unix(api.application(agent), config.socket):
        agent.health.degraded("waiting for this node's object in Kubernetes")
        node = await own_node.wait_node(client, config.node_name)
        ip = config.node_ip or own_node.internal_ip(node)
        host = config.health_host or ip
        async with serve_tcp(api.probes(agent), host, config.health_port):
            await _run(config, agent, client, node, ip)


async def _run(config: Config, agent: Agent, client: Client, node: Node, ip: str) -> None:
    pools = own_node.pools(node, ipv6=_has_ipv6(config))
    local = _local(config, node, ip, pools)
    agent.health.degraded("loading the data path")
    stored = _stored(config.state_directory / ENDPOINTS_FILE)
    health = (
        healthaddress.take_health_addresses(pools, stored) if config.health_address else own_node.NO_HEALTH
    )
    devices = await own_node.ensure_devices(local, pools, health)
    agent.mtu = devices.mtu
    tables = agent.tables = Tables(
        local,
        default_local_cluster=config.policy_default_local_cluster,
        enforcement=config.enforcement,
        knows_zones=config.service_topology,
        knows_algorithms=config.algorithm_annotation,
    )
    async with loaded_datapath(config, local, devices, pools) as loaded:
        agent.dumps = dumps(loaded)
        monitor = agent.monitor = Monitor(loaded.events, loaded.event_config)
        kernel = KernelMaps(
            tables,
            ipcache=loaded.ipcache,
            policy=loaded.policy,
            endpoints=loaded.endpoints,
            services=loaded.services,
            nodes=loaded.nodes,
            maglev=loaded.services,
            native=local.routing_mode is RoutingMode.NATIVE,
        )
        agent.pressure, agent.unfit = kernel.pressure, kernel.unfit
        datapath = agent.datapath = Datapath(tables, kernel, health=agent.datapath_health)
        hooks = HookCheck(tables, loaded, devices.vxlan, devices.underlay.all)
        agent.verifier = Verifier(tables, datapath, kernel, hooks.look)
        agent.tracer = Tracer(tables, kernel, agent.names())
        kubernetes = agent.kubernetes = KubernetesSync(client, tables)
        publisher = Publisher(client, tables, kubernetes.view)
        lifecycle = Lifecycle(
            tables=tables,
            datapath=datapath,
            pools=pools,
            interfaces=PodInterfaces(loaded, pools),
            allocator=Allocator(client, local.cluster, tables.identities.own),
            pods=PodLookup(client, kubernetes.view),
            view=kubernetes.view,
            path=config.state_directory / ENDPOINTS_FILE,
            changed=publisher.wake,
        )
        lifecycle.load(stored)
        await lifecycle.reattach()
        peers = agent.peers = _peers(config, agent, tables)
        tables.set_peer_listings(agent.peer_listings)
        agent.routing = _routing(config, tables, pools, devices)
        listening = everywhere(dual_stack=local.dual_stack)
        balancers = agent.balancers = BalancerHealth(tables.services, local.name, *listening)
        if config.withdraw_after_seconds:
            _add_probing(config, agent, tables)
        record = own_node.cilium_node(local, node, pools, own_node.BOOT_ID.read_text().strip(), health)
        async with asyncio.TaskGroup() as group:
            group.create_task(datapath.run(), name="datapath")
            group.create_task(monitor.run(), name="monitor")
            group.create_task(kubernetes.run(), name="kubernetes")
            group.create_task(own_node.publish(client, record), name="node-record")
            group.create_task(publisher.run(), name="publisher")
            group.create_task(peers.run(), name="peers")
            group.create_task(healthaddress.answer(*_asked_at(ip, health)), name="health")
            if agent.routing is not None:
                group.create_task(agent.routing.run(), name="routing")
            group.create_task(lifecycle.run_collector(), name="collector")
            group.create_task(lifecycle.follow_labels(), name="labels")
            for name, work in (
                ("waiting backends", give_up_waiting(tables.services)),
                ("balancers", balancers.run()),
                ("heap", giving_back()),
            ):
                group.create_task(work, name=name)
            if agent.probing is not None:
                group.create_task(agent.probing.run(), name="probing")
            if agent.mirror is not None and agent.backends is not None:
                group.create_task(agent.mirror.run(), name="mirror")
                group.create_task(agent.backends.run(), name="backends")
            agent.lifecycle = lifecycle
            agent.health.ok(f"node {local.name} of cluster {local.cluster.name}")


def _asked_at(ip: str, health: Addresses) -> list[str]:
    """Where probes are answered: nowhere without a health endpoint."""
    inside = [*filter(None, (health.ipv4, health.ipv6))]
    return [ip, *inside] if inside else []


def _local(config: Config, node: Node, ip: str, pools: Pools) -> LocalNode:
    mode, dual = config.routing_mode, pools.ipv6 is not None
    own6 = own_node.internal_ip6(node) if dual else ""
    if dual and not own6:
        log.info("no IPv6 InternalIP of this node is known: no node ports of IPv6 for clients outside")
    # told where it is needed only: a peer may have listed the addresses that we may claim
    ip6 = own6 if mode is RoutingMode.NATIVE else ""
    return LocalNode(config.cluster, config.node_name, ip, mode, dual_stack=dual, ip6=ip6, outside_ip6=own6)


def _has_ipv6(config: Config) -> bool:
    """Whether pods may have IPv6 addresses."""
    return config.ipv6 and netlink.has_ipv6()


def _add_probing(config: Config, agent: Agent, tables: Tables) -> None:
    agent.probing = Probing(
        tables,
        Mesh(
            lambda addresses: peernodes.having(agent.peers_nodes(), addresses),
            lambda: peerloss.lost(agent.peers),
        ),
        port=config.probe_port,
        silence=config.withdraw_after_seconds,
        ipv6=tables.node.dual_stack,
    )
    if config.probe_backends:
        mirrors = partial(peerloss.mirror_addresses, services=tables.services)
        agent.mirror = mirror = MirrorWatch(lambda: mirrors(agent.peers), agent.own_size)
        agent.backends = BackendProbing(tables, lambda: peerloss.speechless(agent.peers, mirror))


def _routing(config: Config, tables: Tables, pools: Pools, devices: own_node.Devices) -> Routing | None:
    """None where the network itself knows the way to other nodes' pods."""
    style: Tunnelled | Direct
    if tables.node.routing_mode is RoutingMode.TUNNEL:
        style = Tunnelled(devices.vxlan, *(pool.gateway for pool in pools.all))
    elif config.direct_routes:
        style = Direct()
    else:
        return None
    return Routing(
        tables.routes,
        RouteTable(style),
        node=tables.node,
        cidr=pools.ipv4.cidr,
        cidr6=pools.ipv6.cidr if pools.ipv6 else "",
        native_cidrs=config.native_cidrs,
        spoke=lambda: not tables.silent().anybody,
    )


def _stored(path: Path) -> endpoints.Stored:
    try:
        return endpoints.load(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Remove it to start without endpoints") from error


def _peers(config: Config, agent: Agent, tables: Tables) -> Peers:
    ids = ClusterIDs()
    budget = TokenBucket(CONNECTS_PER_SECOND, CONNECTS_AT_ONCE)
    times = PeerTimes(cache_ttl=config.cache_ttl_seconds)

    # KVStoreMesh's copies are in our own cluster, behind a Service
    connector = connecting(agent.meter, partial(servicename.addresses, tables.services))

    def claims_changed() -> None:
        for name, state in agent.states.items():
            state.restrict_to(claims.of(name))

    def claims_refused(file: str, reason: str) -> None:
        for state in agent.states.values():
            state.refused(file, reason)

    claims = agent.claims = ClaimsFile(claims_changed, claims_refused)

    def make(name: str) -> Peer:
        state = agent.states[name] = PeerState(
            name, tables, address_check=config.address_check, claims=claims.of(name)
        )
        return Peer(
            name,
            sink=state,
            connect=connector,
            ids=ids,
            local=config.cluster,
            times=times,
            kinds=partial(imported, config.service_mode),
            budget=budget,
            nodes=agent.mesh_size,
        )

    return Peers(config.peers_directory, config.cluster.name, make, tables.settle, rules=claims.read)
