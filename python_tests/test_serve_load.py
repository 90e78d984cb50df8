"""Does the server hold out under load, and does the benchmark say what it measured?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

from benchmarks import files, serve_load

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_nothing_is_dropped_and_memory_stays(tmp_path: Path) -> None:
    """A minute of what `make bench-serve` does for ten, on an artefact of Gowalla's size."""
    found = serve_load.measure(None, 60.0, 2)
    assert (found["failed"], found["exit_status"]) == (0, 0)
    assert found["reloads"] == serve_load.FEWEST_RELOADS
    assert found["memory_mb"]["last_fifth"] < 1.2 * found["memory_mb"]["second_fifth"]
    page = shutil.copy(ROOT / "docs" / "serve.md", tmp_path)
    files.put_figures(Path(page), serve_load.table([found]))
    assert f"{found['reloads']} reloads" in Path(page).read_text()


def test_the_page_has_the_figures_that_are_kept() -> None:
    known = json.loads(serve_load.FOUND.read_text())
    assert serve_load.table(known) in serve_load.DOCS.read_text()


def test_memory_that_rises_with_the_reloads_is_told_from_memory_that_does_not() -> None:
    rising = serve_load.levels([serve_load.Held(at // 10, 500 + at // 10) for at in range(400)])
    level = serve_load.levels([serve_load.Held(at // 10, 500 + at % 3) for at in range(400)])
    assert rising["fifths"] == [503.5, 511.5, 519.5, 527.5, 535.5]
    assert (rising["mb_a_reload"], rising["mb_a_reload_error"]) == (1.0, 0.0)
    assert abs(level["mb_a_reload"]) <= 0.05
    assert "in the last half of the reloads +1.00 ± 0.00 MB a reload" in serve_load.in_words(rising)
