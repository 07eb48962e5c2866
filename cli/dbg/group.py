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


identity = _list_group("identity", "identities", "Security identities: numbers and their labels.")
service = _list_group("service", "services", "Services: frontends and the backends that answer for them.")
node = _list_group("node", "nodes", "Nodes of this cluster and of its peers.")
endpoint = _list_group("endpoint", "endpoints", "The endpoints on this node.")
bpf = _group(
    "bpf",
    "Kernel maps, as they are now.",
    ipcache=Entry(_HERE, "ipcache", "CIDRs, their identities and tunnels."),
    lb=Entry(_HERE, "lb", "Service frontends and backends."),
    policy=Entry(_HERE, "policy", "Who may reach which endpoint."),
)
ipcache = _list_group("ipcache", "bpf_ipcache", "CIDRs, their identities and tunnels.")
lb = _list_group("lb", "bpf_lb", "Service frontends and backends.")
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
)
troubleshoot = _group(
    "troubleshoot",
    "Walk the way to an etcd, and say where it ends.",
    clustermesh=Entry("cli.dbg.troubleshoot", "clustermesh", "Peers' etcds."),
    kvstore=Entry("cli.dbg.troubleshoot", "kvstore", "This cluster's own etcd."),
)
