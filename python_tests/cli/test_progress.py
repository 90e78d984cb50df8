from __future__ import annotations

import io

from rich.console import Console

from gnas_ext.cli.progress import SearchProgress, standing
from gnas_ext.search import Integer, SearchSpace, Study, Trial
from gnas_ext.train.loop import Epoch

SPACE = SearchSpace({"dim": Integer(0, 9_999)})


def study_of(*ndcgs: float | None) -> Study:
    """Trials of these NDCGs, each smaller than the one before; None for one that failed."""
    trials = [
        Trial(n, SPACE.genotype({"dim": n}), "complete", (ndcg, 1e6 - n))
        if ndcg is not None
        else Trial(n, SPACE.genotype({"dim": n}), "failed", (), "RuntimeError: out of\nmemory " + "x" * 200)
        for n, ndcg in enumerate(ndcgs)
    ]
    return Study(SPACE, ("maximize", "minimize"), trials)


def shown(study: Study, width: int = 80) -> list[str]:
    """The lines that stand on a terminal at the end."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with SearchProgress(console, minutes=30, evaluations=None, epochs=60) as progress:
        for count in range(max(1, len(study.trials) - 2), len(study.trials) + 1):
            progress.on_epoch(Epoch(60, 1.0, 0.1234, 0.5))
            progress.on_trial(Study(SPACE, study.directions, study.trials[:count]), study.trials[count - 1])
        lines = console.render_lines(progress._bars.get_renderable(), pad=False)
        return ["".join(segment.text for segment in line).rstrip() for line in lines]


def test_all_that_counts_fits_into_80_columns() -> None:
    lines = shown(study_of(*[0.1 + n / 1e4 for n in range(1200)], None))
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines[:3])
    assert "1201 trials" in lines[0]
    assert "left" in lines[0]
    assert lines[2].startswith("  best NDCG 0.2199, trial 1199; front of 1; hypervolume ")
    assert lines[2].endswith("; 1 failed")
    assert lines[3].startswith("  trial 1200 failed: RuntimeError: out of memory xxx")
    assert lines[3].endswith("…")


def test_where_nothing_failed_nothing_is_said_of_it() -> None:
    lines = shown(study_of(0.1, 0.2))
    assert lines[2:] == ["  best NDCG 0.2000, trial 1; front of 1; hypervolume –"]


def test_before_a_trial_is_complete_there_is_no_best() -> None:
    assert standing(study_of(None))[0].plain == "  none complete yet; 1 failed"


def test_the_hypervolume_is_the_study_s() -> None:
    study = study_of(*[0.1 + n / 100 for n in range(9)])
    assert f"hypervolume {study.relative_hypervolume:.3f}" in standing(study)[0].plain


def test_one_objective_has_no_front() -> None:
    study = Study(SPACE, ("maximize",), [Trial(0, SPACE.genotype({"dim": 0}), "complete", (0.5,))])
    assert standing(study)[0].plain == "  best NDCG 0.5000, trial 0; hypervolume –"
