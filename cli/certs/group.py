"""The commands of `clustermesh certs`: names only; each is imported when it is used."""

from __future__ import annotations

from cli.lazy import Entry, LazyGroup

certs = LazyGroup(
    "certs",
    entries={
        "renew": Entry("cli.certs.renew", "renew", "Issue certificates that are due anew."),
        "revoke": Entry("cli.certs.revoke", "revoke", "Shut a peer out at once."),
        "rotate-ca": Entry("cli.certs.rotate", "rotate_ca", "Replace the authority without a restart."),
        "show": Entry("cli.certs.show", "show", "Show the cluster's certificates."),
    },
    help="The mesh's certificates.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
