from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from gnas_ext.errors import InputError
from gnas_ext.report import to_mermaid, write_architecture

from .conftest import make_report

if TYPE_CHECKING:
    from pathlib import Path

GENOTYPE = make_report().genotype
SVG = "{http://www.w3.org/2000/svg}"


def test_the_architecture_is_written_as_text_and_as_a_picture(tmp_path: Path) -> None:
    written = write_architecture(tmp_path / "out", GENOTYPE)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["architecture.mmd", "architecture.svg"]
    assert written[0].read_text(encoding="utf-8") == to_mermaid(GENOTYPE)
    root = ElementTree.parse(written[1]).getroot()
    assert root.tag == f"{SVG}svg"
    assert {"Graph", "bits 8", "Hop 3"} <= {text.text for text in root.iter(f"{SVG}text")}


def test_the_picture_stands_alone(tmp_path: Path) -> None:
    """Without the page's style, and without variables, which few viewers of SVG know."""
    text = write_architecture(tmp_path, {"family": "ease", "l2": 1.0})[1].read_text(encoding="utf-8")
    style = text[text.index("<style>") : text.index("</style>")]
    assert "var(" not in style
    for rule in ("text {", ".box-title {", "rect {", ".weights rect {", ".arrow {", "polygon {"):
        assert f"\n{rule}" in style, rule
    assert not re.search(r"(href|src|url)", text)


def test_what_has_no_shape_has_no_picture(tmp_path: Path) -> None:
    write_architecture(tmp_path, GENOTYPE)
    assert [path.name for path in write_architecture(tmp_path, {"a": 1})] == ["architecture.mmd"]
    assert [path.name for path in tmp_path.iterdir()] == ["architecture.mmd"]


def test_a_failure_is_one_line_and_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_architecture(tmp_path, GENOTYPE)[0].read_text(encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"architecture\.mmd: the architecture cannot be written: No space left"):
        write_architecture(tmp_path, {"a": 1})
    assert (tmp_path / "architecture.mmd").read_text(encoding="utf-8") == before
    assert len(list(tmp_path.iterdir())) == 2
