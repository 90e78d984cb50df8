"""Does docs/ops.md name every op?"""

from __future__ import annotations

import re
from pathlib import Path

from gnas_ext import nn, ops

PAGE = (Path(__file__).parents[2] / "docs" / "ops.md").read_text()


def test_every_op_has_a_heading() -> None:
    assert set(ops.__all__) <= set(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE))


def test_every_layer_is_named() -> None:
    for name in nn.__all__:
        assert f"{name}`" in PAGE
