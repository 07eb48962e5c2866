import logging

import pytest

from aiokit import log


def test_an_unknown_level_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'loud' is not one of debug, info"):
        log.configure("loud")


def test_lines_go_to_standard_error_with_the_facts_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        log.configure("warning")
        logging.getLogger("mesh").warning("peer %s refused", "west")
        captured = capsys.readouterr()
        assert "level=WARNING logger=mesh msg=peer west refused" in captured.err
        assert captured.out == ""
    finally:
        root.handlers[:], root.level = before, level
