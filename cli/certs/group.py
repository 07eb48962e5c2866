"""The commands of `clustermesh certs`: names only; each is imported when it is used."""

from __future__ import annotations

from cli.lazy import Entry, LazyGroup

certs = LazyGroup(
    "certs",
    entries={
        "intermediate": Entry(
            "cli.certs.intermediate", "intermediate", "Sign with an authority below a common root."
        ),
        "renew": Entry("cli.certs.renew", "renew", "Issue certificates that are due anew."),
        "revoke": Entry("cli.certs.revoke", "revoke", "Shut a peer out at once."),
        "root": Entry("cli.certs.root", "root", "Make a root for clusters' authorities, as files."),
        "rotate-ca": Entry("cli.certs.rotate", "rotate_ca", "Replace the authority without a restart."),
        "show": Entry("cli.certs.show", "show", "Show the cluster's certificates."),
        "trust": Entry("cli.certs.trust", "trust", "Accept one more authority."),
    },
    help="The mesh's certificates.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
