"""A container that does nothing until it is asked to end: somewhere to run commands in."""

from __future__ import annotations

import signal


def main() -> None:
    # sigwait needs them blocked; an idle pod then costs no wake-ups at all
    numbers = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    signal.sigwait(numbers)


if __name__ == "__main__":
    main()
