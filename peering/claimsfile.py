"""What peers may claim here: `claims.yaml` among their configurations, followed while a reader runs. No I/O.

A file that cannot be used is reported, and what it said before counts. Where nothing is known yet, no peer is
followed: to take everything would be too much, and to take nothing would empty the tables.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from peering.rules import CLAIMS_FILE, Claims, RulesError, parse_claims

log = logging.getLogger(__name__)

UNUSABLE = "claims: the file of what peers may claim cannot be used, what it said before counts"
ANY = Claims()


class ClaimsFile:
    """`changed` hears of other claims, and of a file that can be used again; `refused` of one that cannot."""

    def __init__(self, changed: Callable[[], None], refused: Callable[[str, str], None]) -> None:
        self._changed = changed
        self._refused = refused
        self._claims: Mapping[str, Claims] | None = None
        self._last: bytes | None = None
        self.problem = ""  # with the file as it is now

    def of(self, peer: str) -> Claims:
        return (self._claims or {}).get(peer, ANY)

    def read(self, files: Mapping[str, bytes]) -> bool:
        """Take what the directory holds now. Whether it is known what peers may claim."""
        text = files.get(CLAIMS_FILE)
        if text != self._last:
            was_usable, self._last, self.problem = not self.problem, text, ""
            if text is None:
                self._say("it is gone")
            else:
                self._take(text, was_usable=was_usable)
        elif text is None and self._claims is None:
            self._claims = {}
        return self._claims is not None

    def _take(self, text: bytes, *, was_usable: bool) -> None:
        try:
            claims = parse_claims(text)
        except RulesError as error:
            return self._say(str(error))
        if claims != self._claims or not was_usable:
            self._claims = claims
            log.info("what peers may claim peers=%d", len(claims))
            self._changed()
        return None

    def _say(self, error: str) -> None:
        self.problem = error
        log.error("file not usable, what it said before counts file=%s error=%s", CLAIMS_FILE, error)
        self._refused(CLAIMS_FILE, UNUSABLE)
