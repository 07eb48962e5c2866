"""The groups below `clustermesh-dbg`: names only; what they hold is imported when it is used."""

from __future__ import annotations

from cli.lazy import Entry, LazyGroup

_HERE = __name__
_LISTS = "cli.dbg.listing"
_HELP = {"help_option_names": ["-h", "--help"]}


def _group(name: str, text: str, **entries: Entry) -> LazyGroup:
    return LazyGroup(name, entries=entries, help=text, context_settings=_HELP, no_args_is_help=True)


def _list_group(name: str, attribute: str, text: str) -> LazyGroup:
    return _group(name, text, list=Entry(_LISTS, attribute, "List them."))


identity = _group(
    "identity",
    "Security identities: numbers and their labels.",
    get=Entry("cli.dbg.identity", "identity", "Show one."),
    list=Entry("cli.dbg.identity", "identities", "List them."),
)
service = _list_group("service", "services", "Services: frontends and the backends that answer for them.")
node = _list_group("node", "nodes", "Nodes of this cluster and of its peers.")
node_ids = _list_group("nodeid", "node_ids", "Nodes' numbers on this node.")
endpoint = _group(
    "endpoint",
    "The endpoints on this node.",
    get=Entry(_LISTS, "endpoint", "Show one."),
    list=Entry(_LISTS, "endpoints", "List them."),
)
maps = _group(
    "map",
    "Kernel maps by name.",
    get=Entry(_LISTS, "map_entries", "Show the entries of one."),
    list=Entry(_LISTS, "maps", "List their names."),
)
bpf = _group(
    "bpf",
    "Kernel maps, as they are now.",
    ct=Entry(_HERE, "ct", "Connections of this node's endpoints."),
    endpoint=Entry(_HERE, "bpf_endpoint", "Endpoints of this node."),
    ipcache=Entry(_HERE, "ipcache", "CIDRs, their identities and tunnels."),
    lb=Entry(_HERE, "lb", "Service frontends and backends."),
    metrics=Entry(_HERE, "metrics", "Packets by what became of them."),
    nat=Entry(_HERE, "nat", "Clients of node ports that this node stands for."),
    nodeid=Entry(_HERE, "bpf_node_ids", "Nodes' numbers and their addresses."),
    policy=Entry(_HERE, "policy", "Who may reach which endpoint."),
)
ct = _group("ct", "Connections of this node's endpoints.", list=Entry(_HERE, "ct_list", "List them."))
ct_list = _group("list", "List them.", **{"global": Entry(_LISTS, "bpf_ct", "All of this node.")})
bpf_endpoint = _list_group("endpoint", "bpf_endpoints", "Endpoints of this node.")
ipcache = _group(
    "ipcache",
    "CIDRs, their identities and tunnels.",
    get=Entry("cli.dbg.ipcache", "ipcache_get", "Show the entry of one address."),
    list=Entry(_LISTS, "bpf_ipcache", "List them."),
    match=Entry("cli.dbg.ipcache", "ipcache_match", "Show those of identities with these labels."),
)
lb = _group(
    "lb", "Service frontends and backends.", list=Entry("cli.dbg.loadbalancer", "bpf_lb", "List them.")
)
metrics = _list_group("metrics", "bpf_metrics", "Packets by what became of them.")
bpf_node_ids = _list_group("nodeid", "bpf_node_ids", "Nodes' numbers and their addresses.")
nat = _list_group("nat", "bpf_nat", "Clients of node ports that this node stands for.")
policy = _group(
    "policy",
    "Who may reach which endpoint.",
    get=Entry(_LISTS, "bpf_policy_get", "Show one endpoint's entries."),
    list=Entry(_LISTS, "bpf_policy", "List them."),
)
kvstore = _group(
    "kvstore",
    "Keys and values of the mesh.",
    check=Entry("cli.dbg.kvstore_check", "check", "Decode a dump, encode it again, compare."),
    get=Entry("cli.dbg.kvstore_get", "kvstore_get", "Show what stands under a key."),
)
troubleshoot = _group(
    "troubleshoot",
    "Walk the way to an etcd, and say where it ends.",
    clustermesh=Entry("cli.dbg.troubleshoot", "clustermesh", "Peers' etcds."),
    kvstore=Entry("cli.dbg.troubleshoot", "kvstore", "This cluster's own etcd."),
)
