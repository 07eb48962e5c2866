"""The commands of `clustermesh service`: names only; each is imported when it is used."""

from __future__ import annotations

from cli.lazy import Entry, LazyGroup

service = LazyGroup(
    "service",
    entries={
        "list": Entry("cli.service", "list_services", "List global services and who serves them."),
        "status": Entry("cli.service", "service_status", "Which clusters serve a service, and why not."),
    },
    help="Services of several clusters, as clients in this one see them.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
