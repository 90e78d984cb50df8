from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from gnas_ext.errors import InputError
from gnas_ext.search import (
    Categorical,
    Genotype,
    Integer,
    LogFloat,
    Outcome,
    SearchSpace,
    Stop,
    Study,
    Trial,
    autoencoder,
    evolve,
)
from gnas_ext.search.journal import discard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPACE = SearchSpace(
    {
        "x": Integer(0, 30, step=3),
        "lr": LogFloat(1e-4, 1e-1, levels=7),
        "agg": Categorical(["sum", None, True, 0.5]),
        "days": Integer(1, 20, when={"agg": ["sum", True]}),
    }
)


def evaluate(genotype: Genotype) -> Outcome:
    """Two objectives, attributes, and a failure now and then."""
    x, lr, days = (float(str(genotype.get(name, 0))) for name in ("x", "lr", "days"))
    if x == 9:
        raise RuntimeError("nine")
    return Outcome((x / 7 + lr, (days - 5) ** 2 / 3), {"curve": [x, 0.1], "note": str(genotype)})


def search(path: Path | None, evaluations: int = 40, resume: bool = False, **options: Any) -> Study:
    arguments: dict[str, Any] = {"directions": ["maximize", "minimize"], "population": 8, "initial": [RECIPE]} | options
    return evolve(SPACE, evaluate, evaluations=evaluations, journal=path, resume=resume, **arguments)


RECIPE = {"x": 3, "lr": 0.1, "agg": None}


@pytest.fixture(scope="module")
def uninterrupted() -> Study:
    return search(None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The journal of a finished search."""
    path = tmp_path_factory.mktemp("finished") / "study.journal"
    search(path)
    return path.read_bytes()


@pytest.fixture
def journal(tmp_path: Path, finished: bytes) -> Path:
    """A copy of it."""
    path = tmp_path / "study.journal"
    path.write_bytes(finished)
    return path


def test_a_journal_changes_nothing_about_the_search(tmp_path: Path, uninterrupted: Study) -> None:
    assert search(tmp_path / "j").trials == uninterrupted.trials


def test_what_is_read_back_is_what_was_found(journal: Path, uninterrupted: Study) -> None:
    def never(genotype: Genotype) -> float:
        raise AssertionError

    options: dict[str, Any] = {"directions": ["maximize", "minimize"], "population": 8, "initial": [RECIPE]}
    study = evolve(SPACE, never, evaluations=40, journal=journal, resume=True, **options)
    assert study.trials == uninterrupted.trials
    assert [trial.seconds > 0 for trial in study.trials] == [True] * 40
    assert study.stopped is Stop.EVALUATIONS


@pytest.mark.parametrize("offset", [0, 1, 9, 60, 130, *(random.Random(0).random() for _ in range(20))])
def test_a_journal_cut_at_any_byte_goes_on_to_the_same_study(
    journal: Path, uninterrupted: Study, offset: float, caplog: pytest.LogCaptureFixture
) -> None:
    data = journal.read_bytes()
    cut = offset if isinstance(offset, int) else int(offset * len(data))
    journal.write_bytes(data[:cut])
    with caplog.at_level(logging.WARNING):
        study = search(journal, resume=True)
    assert study.trials == uninterrupted.trials
    told = [f"{journal}: the last line was cut short and is removed; its trial runs again"]
    assert caplog.messages == (told if cut and data[cut - 1 : cut] != b"\n" else [])


def test_a_torn_last_line_that_ends_in_a_newline_is_repaired_too(journal: Path, uninterrupted: Study) -> None:
    journal.write_bytes(journal.read_bytes()[:-30] + b"\0\0\0\n")
    assert search(journal, resume=True).trials == uninterrupted.trials


def test_with_a_decoder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "STEPS", 10)
    whole = search(None, evaluations=50, decode=True)
    assert "decoder" in {trial.origin for trial in whole.trials}
    for cut in (24, 37):
        search(tmp_path / f"{cut}", evaluations=cut, decode=True)
        assert search(tmp_path / f"{cut}", evaluations=50, resume=True, decode=True).trials == whole.trials


KILLED = """
import os, random, sys, time
from pathlib import Path
import optuna
from gnas_ext.search import Integer, SearchSpace, evolve

folder = Path(sys.argv[1])
space = SearchSpace({f"x{place}": Integer(0, 9) for place in range(4)})

def search(name):
    def evaluate(genotype):
        with (folder / f"{name}.evaluated").open("a") as file:
            file.write(f"{genotype}\\n")
        time.sleep(0.001)
        return -sum((value - 4.3) ** 2 for value in genotype.values()), genotype["x0"] / 7

    evolve(space, evaluate, evaluations=120, directions=["maximize", "minimize"], journal=folder / name, resume=True)

def written():
    return (folder / "killed").stat().st_size if (folder / "killed").exists() else 0

rng = random.Random(0)
for _ in range(20):
    goal = written() + rng.randrange(3000)
    child = os.fork()
    if not child:
        search("killed")
        os._exit(0)
    # Some trials further on, and then at a moment that is anywhere in a trial.
    while written() < goal:
        time.sleep(0.0005)
    time.sleep(rng.uniform(0, 0.003))
    os.kill(child, 9)
    print(os.waitpid(child, 0)[1])
search("killed")
search("whole")
"""


def test_a_search_killed_twenty_times_ends_as_if_it_had_never_been(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    ends = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.split()
    assert ends == [str(int(signal.SIGKILL))] * 20
    killed, whole = (outcomes(tmp_path / name) for name in ("killed", "whole"))
    assert len(whole) == 120
    assert killed == whole
    # Nothing that was finished ran again: each kill cost one evaluation at most.
    assert len((tmp_path / "killed.evaluated").read_text().splitlines()) <= 120 + 20


def outcomes(path: Path) -> list[tuple[Any, ...]]:
    """All of a journal's trials but their times."""
    study = load(path)
    return [
        (t.number, t.state, t.params, t.values, t.user_attrs["tokens"], t.user_attrs["origin"], t.user_attrs["parents"])
        for t in study.trials
    ]


def load(path: Path) -> optuna.Study:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.load_study(study_name=None, storage=storage)


def test_optuna_reads_the_journal(journal: Path, uninterrupted: Study) -> None:
    study = load(journal)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert len(study.trials) == 40
    for theirs, ours in zip(study.trials, uninterrupted.trials, strict=True):
        assert theirs.params == ours.genotype
        assert tuple(theirs.values or ()) == ours.values
        assert theirs.state.name == {"complete": "COMPLETE", "failed": "FAIL"}[ours.state]
        assert theirs.user_attrs["tokens"] == list(SPACE.encode(ours.genotype))
        assert theirs.user_attrs["origin"] == ours.origin
        assert theirs.user_attrs["reason"] == ours.reason
        assert theirs.user_attrs["attributes"] == ours.attributes
        assert theirs.duration is not None
    assert {t.values[0] for t in study.best_trials} == {t.values[0] for t in uninterrupted.front}


def test_optuna_computes_importances_and_hands_out_the_same_distributions(journal: Path) -> None:
    distributions = optuna.search_space.intersection_search_space(load(journal).trials)
    assert distributions == {
        "x": optuna.distributions.IntDistribution(0, 30, step=3),
        "lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
        "agg": optuna.distributions.CategoricalDistribution(["sum", None, True, 0.5]),
    }


def test_a_trial_is_one_line_and_is_there_when_the_next_begins(tmp_path: Path) -> None:
    path = tmp_path / "j"
    lines: list[int] = []
    search(path, evaluations=5, on_trial=lambda study, trial: lines.append(path.read_bytes().count(b"\n")))
    assert lines == [3, 4, 5, 6, 7]
    last = json.loads(path.read_bytes().splitlines()[-1])
    assert last["user_attrs"]["parents"] == []


def test_nothing_is_left_beside_the_journal(tmp_path: Path) -> None:
    search(tmp_path / "j", evaluations=3)
    assert os.listdir(tmp_path) == ["j"]


def test_ctrl_c_leaves_a_journal_that_goes_on(tmp_path: Path, uninterrupted: Study) -> None:
    path = tmp_path / "j"

    def interrupt(study: Study, trial: Trial) -> None:
        if trial.number == 11:
            raise KeyboardInterrupt

    assert search(path, on_trial=interrupt).stopped is Stop.INTERRUPTED
    assert search(path, resume=True).trials == uninterrupted.trials


def test_a_larger_budget_goes_on_from_a_finished_search(journal: Path) -> None:
    assert search(journal, evaluations=50, resume=True).trials == search(None, evaluations=50).trials


def test_an_existing_journal_is_not_overwritten(journal: Path) -> None:
    before = journal.read_bytes()
    with pytest.raises(
        InputError, match=r"holds a search already; go on with it \(--resume, resume=True\) or name another"
    ):
        search(journal)
    assert journal.read_bytes() == before


def test_an_empty_file_is_a_new_journal(tmp_path: Path, uninterrupted: Study) -> None:
    path = tmp_path / "j"
    path.touch()
    assert search(path).trials == uninterrupted.trials


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"seed": 3}, r"seed \(0 there, 3 now\)"),
        ({"population": 9}, r"population \(8 there, 9 now\)"),
        ({"first_share": 0.5}, r"first_share \(nothing there, 0\.5 now\)"),
        (
            {"directions": ["maximize", "maximize"]},
            r"directions \(\['maximize', 'minimize'\] there, \['maximize', 'maxim",
        ),
        ({"initial": []}, r"initial \(\[\[2, 7, 2, 0\]\] there, \[\] now\)"),
        ({"context": {"log": "abc"}}, r"context 'log' \(nothing there, abc now\)"),
    ],
    ids=str,
)
def test_resuming_under_other_terms_is_refused_and_says_what_differs(
    journal: Path, options: dict[str, Any], difference: str
) -> None:
    before = journal.read_bytes()
    with pytest.raises(InputError, match=f"cannot resume, the journal is of another search: {difference}") as caught:
        search(journal, resume=True, **options)
    assert "\n" not in str(caught.value)
    assert journal.read_bytes() == before


def test_resuming_with_another_space_is_refused_and_names_the_genes(journal: Path) -> None:
    genes = {**SPACE.genes, "lr": LogFloat(1e-4, 1.0, levels=7), "new": Integer(1, 2)}
    message = (
        r"genes \(.*gene 'lr' \(LogFloat\(0.0001, 0.1, levels=7\) there, LogFloat\(0.0001, 1.0, levels=7\) now\); "
        r"gene 'new' \(nothing there, Integer\(1, 2\) now\)"
    )
    with pytest.raises(InputError, match=message):
        evolve(
            SearchSpace(genes), evaluate, evaluations=9, journal=journal, resume=True, population=8,
            directions=["maximize", "minimize"], initial=[RECIPE | {"lr": 1.0, "new": 1}],
        )  # fmt: skip


def test_a_trial_that_valid_now_refuses_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j"
    genes = {"a": Integer(0, 9)}
    evolve(SearchSpace(genes), lambda g: 0.0, evaluations=10, journal=path)
    stricter = SearchSpace(genes, valid=lambda g: g["a"] != 4)
    with pytest.raises(InputError, match=r"trial \d is not of this space: the space's `valid` refuses a=4"):
        evolve(stricter, lambda g: 0.0, evaluations=10, journal=path, resume=True)


def test_a_second_driver_is_refused_while_the_first_one_runs(tmp_path: Path) -> None:
    path = tmp_path / "j"
    refusals: list[str] = []

    def second(study: Study, trial: Trial) -> None:
        for resume in (True, False):
            with pytest.raises(InputError) as caught:
                search(path, resume=resume)
            refusals.append(str(caught.value))

    search(path, evaluations=2, on_trial=second)
    assert set(refusals) == {f"{path}: another search is writing this journal; wait for it, or name another file"}
    assert search(path, evaluations=3, resume=True).evaluations == 3


def test_a_journal_is_discarded_unless_a_driver_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "j"
    discard(path)  # there is none
    refusals: list[str] = []

    def discarded(study: Study, trial: Trial) -> None:
        with pytest.raises(InputError, match="another search is writing this journal") as caught:
            discard(path)
        refusals.append(str(caught.value))

    search(path, evaluations=2, on_trial=discarded)
    assert len(refusals) == 2
    discard(path)
    assert not path.exists()
    path.mkdir()
    with pytest.raises(InputError, match="cannot remove this journal: Is a directory"):
        discard(path)


@pytest.mark.parametrize("content", ["user,item\n1,2\n", "x", "{}\n"])
def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text(content)
    for resume in (True, False):
        with pytest.raises(InputError, match=r"ratings\.csv: "):
            search(path, resume=resume)
    assert path.read_text() == content


def test_a_journal_damaged_in_the_middle_is_refused_with_the_line(journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[6] = lines[6][:40] + b"\n"
    journal.write_bytes(b"".join(lines))
    with pytest.raises(InputError, match="line 7 is damaged; restore the file from a copy, or name another file"):
        search(journal, resume=True)
    assert journal.read_bytes() == b"".join(lines)


def test_the_journal_of_another_optuna_study_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    optuna.create_study(study_name="theirs", storage=storage)
    with pytest.raises(InputError, match="an Optuna journal, but not of a gnas_ext search; name another file"):
        search(path, resume=True)


def test_a_trial_that_somebody_else_put_in_is_refused(journal: Path) -> None:
    load(journal).ask()
    with pytest.raises(InputError, match="trial 40 was not written by a gnas_ext search"):
        search(journal, resume=True)


@pytest.mark.parametrize("name", ["missing/j", "."])
def test_a_path_that_cannot_be_a_journal_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot write a journal here: (No such file|Is a directory)"):
        search(tmp_path / name)


@contextmanager
def small_disk(limit: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_stops_the_search_with_a_journal_that_resumes(tmp_path: Path, uninterrupted: Study) -> None:
    path = tmp_path / "j"
    with small_disk(20_000), pytest.raises(InputError, match="cannot write the journal: File too large; mend that and"):
        search(path)
    assert path.stat().st_size == 20_000
    assert search(path, resume=True).trials == uninterrupted.trials


def test_a_full_disk_while_workers_run_stops_the_search_likewise(tmp_path: Path, uninterrupted: Study) -> None:
    path = tmp_path / "j"
    with small_disk(20_000), pytest.raises(InputError, match="cannot write the journal: File too large; mend that and"):
        search(path, workers=2)
    assert not multiprocessing.active_children()
    study = search(path, resume=True)
    assert len({trial.genotype for trial in study.trials}) == study.evaluations == uninterrupted.evaluations


def test_optuna_says_nothing_and_keeps_its_verbosity(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    level = optuna.logging.get_verbosity()
    search(tmp_path / "j", evaluations=3)
    assert optuna.logging.get_verbosity() == level
    assert capfd.readouterr() == ("", "")
