"""A few of the damaged artefacts of `make fuzz`, and whether it would find what is wrong."""

from __future__ import annotations

import contextlib
import pickle
from typing import TYPE_CHECKING

from gnas_ext.recommend import _load
from gnas_ext.recommend._tensors import Tensors
from python_tests.recommend.fuzz import prepared

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ITERATIONS = 800


def first_wrong() -> str:
    """What the first of the findings is, if there is one among more iterations than it should take."""
    with prepared(seed=5) as fuzz:
        for iteration in range(4 * ITERATIONS):
            fuzz.run(iteration)
            if fuzz.found.wrong:
                return fuzz.found.wrong[0][1]
    return ""


def test_damaged_artefacts_answer_as_before_or_are_refused() -> None:
    with prepared(seed=5) as fuzz:
        for iteration in range(ITERATIONS):
            fuzz.run(iteration)
        assert fuzz.found.wrong == []
        kinds = " ".join(fuzz.found.outcomes)
    # It saw every way in which this may end, and a refusal of every file.
    for outcome in ("same answer", "hashes mended", "manifest", "model", "seen", "users", "items", "card"):
        assert outcome in kinds


def test_an_iteration_repeats_exactly() -> None:
    outcomes = []
    for _ in range(2):
        with prepared(seed=1) as fuzz:
            fuzz.run(33)
            outcomes.append(fuzz.found.outcomes)
    assert outcomes[0] == outcomes[1]


def test_hashes_that_are_not_checked_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_load, "_check_file", lambda *_: None)
    assert "nobody mended the hashes" in first_wrong()


def test_numbers_that_are_not_checked_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensors, "check_names", lambda *_: None)
    monkeypatch.setattr(Tensors, "check_specs", lambda *_: None)
    assert "Error: " in first_wrong()


def test_a_pickle_that_is_read_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Tensors.read

    def careless(path: Path) -> Tensors:
        with contextlib.suppress(Exception):
            pickle.loads(path.read_bytes())
        return read(path)

    monkeypatch.setattr(Tensors, "read", careless)
    assert "a pickle was read" in first_wrong()
