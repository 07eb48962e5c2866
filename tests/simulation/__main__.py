"""`python -m tests.simulation SEED`: live through one history again, aloud."""

from __future__ import annotations

import logging
import sys

from tests.simulation.history import play


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="           %(name)s: %(message)s", stream=sys.stdout)
    outcome = play(int(sys.argv[1]), aloud=True)
    for violation in outcome.violations:
        print(violation)  # noqa: T201 - this is the program's output
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
