"""Do the examples run and do what they say?"""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_spmm_in_your_loop_learns(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "spmm_in_your_loop.py"), run_name="__main__")
    found = re.fullmatch(r"loss ([\d.]+) -> ([\d.]+)\n", capsys.readouterr().out)
    assert found
    assert float(found[1]) > 0.6
    assert float(found[2]) < 0.1


def test_layers_in_your_loop_learn(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "layers_in_your_loop.py"), run_name="__main__")
    found = re.fullmatch(r"loss ([\d.]+) -> ([\d.]+), (\d+)% of the other nodes right\n", capsys.readouterr().out)
    assert found
    assert float(found[1]) > 0.5
    assert float(found[2]) < 0.2
    assert int(found[3]) > 90
