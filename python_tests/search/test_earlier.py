from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gnas_ext.errors import InputError
from gnas_ext.search import Categorical, Cell, Float, Genotype, Integer, LogFloat, SearchSpace, best_of_earlier, evolve

if TYPE_CHECKING:
    from pathlib import Path

SPACE = SearchSpace({"a": Integer(0, 9), "b": Integer(0, 9), "mode": Categorical(["x", "y"])})


def two(genotype: Genotype) -> tuple[float, float]:
    a, b = (float(str(genotype[name])) for name in "ab")
    return a + b / 10 + (genotype["mode"] == "y"), a - b


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("earlier") / "journal"
    evolve(SPACE, two, evaluations=30, directions=["maximize", "minimize"], journal=path)
    return path


def test_the_front_comes_first(journal: Path) -> None:
    study = evolve(SPACE, two, evaluations=30, directions=["maximize", "minimize"], journal=journal, resume=True)
    found = best_of_earlier(journal, SPACE, len(study.front))
    assert {Genotype(each) for each in found} == {trial.genotype for trial in study.front}
    assert best_of_earlier(study, SPACE, len(study.front)) == found


def test_a_search_begins_with_them(journal: Path) -> None:
    warm = best_of_earlier(journal, SPACE, 4)
    trials = evolve(SPACE, lambda g: two(g)[0], evaluations=6, initial=warm).trials
    assert [trial.genotype.as_dict() for trial in trials[:4]] == warm
    assert [trial.origin for trial in trials[:4]] == ["initial"] * 4


def test_genotypes_are_fitted_to_another_space(journal: Path) -> None:
    other = SearchSpace(
        {
            "a": Integer(0, 4),  # the nearest
            "mode": Categorical(["z", "w"]),  # no such value: the first
            "rate": LogFloat(1e-3, 1e-1, levels=3),  # new: the middle
            "share": Float(0, 1, levels=5, when={"mode": ["w"]}),  # dead
            "net": Cell(2, ["p", "q"]),
        },
    )
    found = best_of_earlier(journal, other, 3)
    assert found
    for genotype in found:
        assert other.genotype(genotype).as_dict() == genotype
        assert (genotype["mode"], genotype["rate"], "share" in genotype, "b" in genotype) == ("z", 0.01, False, False)
    best = best_of_earlier(journal, SPACE, 1)[0]
    assert found[0]["a"] == min(4, int(str(best["a"])))


def test_none_is_named_twice_and_none_that_is_refused(journal: Path) -> None:
    odd = SearchSpace({"a": Integer(0, 9)}, valid=lambda g: int(str(g["a"])) % 2 == 1)
    found = best_of_earlier(journal, odd, 10)
    numbers = [genotype["a"] for genotype in found]
    assert len(set(numbers)) == len(numbers) > 1
    assert all(int(str(number)) % 2 for number in numbers)


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing: there is no such journal"):
        best_of_earlier(tmp_path / "missing", SPACE)
    (tmp_path / "text").write_text("hello\n")
    with pytest.raises(InputError, match="not a journal of a search"):
        best_of_earlier(tmp_path / "text", SPACE)
    evolve(SPACE, lambda g: float("nan"), evaluations=2, journal=tmp_path / "failed")
    with pytest.raises(InputError, match="failed: no complete trial to begin with"):
        best_of_earlier(tmp_path / "failed", SPACE)
