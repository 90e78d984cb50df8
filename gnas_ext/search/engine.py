"""The search itself: propose a genotype, evaluate it, write it down, learn from it; until the budget is spent."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnas_ext.errors import InputError
from gnas_ext.search.budget import Budget
from gnas_ext.search.evaluation import run
from gnas_ext.search.journal import Journal
from gnas_ext.search.proposer import Proposer
from gnas_ext.search.study import Stop, Study
from gnas_ext.search.trial import as_json

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from gnas_ext.search.evaluation import Evaluate
    from gnas_ext.search.space import SearchSpace, Tokens
    from gnas_ext.search.study import Direction
    from gnas_ext.search.trial import Trial


def evolve(
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    evaluations: int | None = None,
    minutes: float | None = None,
    directions: Sequence[Direction] = ("maximize",),
    seed: int = 0,
    population: int = 20,
    initial: Sequence[Mapping[str, object]] = (),
    journal: str | os.PathLike[str] | None = None,
    resume: bool = False,
    context: Mapping[str, Any] | None = None,
    on_trial: Callable[[Study, Trial], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Study:
    """Searches a space by evolution, one trial after the other; no genotype is evaluated twice.

    An evaluation that raises an Exception, or does not return one finite number an objective, makes a failed trial, and
    the search goes on. Ctrl-C ends the search and returns what there is. Given the same arguments and an `evaluate`
    that repeats exactly, the trials repeat exactly, also when a search was killed at any moment and resumed.

    Args:
        space: genes and what is valid.
        evaluate: takes a Genotype; returns a number, one number an objective, or an `Outcome`.
        evaluations: trials in all, failed ones and those of earlier runs included.
        minutes: from now on; no trial is started that is not expected to end in time. At least one budget is needed.
        directions: "maximize" or "minimize", one an objective.
        seed: another seed, another search.
        population: how many of the best have children; as many trials come first that are random or `initial`.
        initial: genotypes to evaluate first, as dicts; one that is named twice is evaluated once.
        journal: file to which each trial is appended as it ends, an Optuna journal (`optuna-dashboard FILE` shows it).
        resume: goes on where the journal ends; starts a new one where there is none.
        context: what the values depend on besides the genotype (the hash of a data file, say), as JSON. The journal
            keeps it: resuming is refused if it, the genes, directions, seed, population or `initial` have changed.
        on_trial: called after each trial with the study so far and the trial.
        clock: seconds that never go back.

    Returns:
        The study; `study.stopped` says why the search ended.

    Raises:
        InputError: a genotype of `initial` is not of the space; the space allows nothing; the journal exists already
            (without `resume`), belongs to another search, is damaged, in use or cannot be written.
        ValueError: no budget or a negative one, wrong directions, a population below 2, `resume` without `journal`.
    """
    directions = tuple(directions)
    _check(directions, population, resume, journal)
    budget = Budget(evaluations, minutes, clock)
    recipes = _recipes(space, initial)
    terms = _terms(space, directions, seed, population, recipes, context)
    proposer = Proposer(space, directions, seed, population, recipes)
    study = Study(space, directions)

    with Journal(Path(journal), space, directions, terms, resume) if journal is not None else nullcontext() as log:
        for trial in log.trials() if log else []:
            study.trials.append(trial)
            proposer.learn(trial)
        try:
            while (stop := budget.spent(study.trials)) is None:
                proposal = proposer.propose(study.evaluations)
                if isinstance(proposal, Stop):
                    stop = proposal
                    break
                genotype = space.decode(proposal.tokens)
                trial = run(evaluate, study.evaluations, genotype, proposal, directions, clock)
                if log:
                    log.append(trial)
                study.trials.append(trial)
                proposer.learn(trial)
                if on_trial:
                    on_trial(study, trial)
        except KeyboardInterrupt:
            stop = Stop.INTERRUPTED
    study.stopped = stop
    return study


def _check(directions: tuple[Direction, ...], population: int, resume: bool, journal: object) -> None:
    if not directions or any(way not in ("maximize", "minimize") for way in directions):
        raise ValueError(f"evolve: expected directions 'maximize' or 'minimize', one an objective, got {directions}")
    if population < 2:
        raise ValueError(f"evolve: expected a population of at least 2, got {population}")
    if resume and journal is None:
        raise ValueError("evolve: resume=True needs journal=, the file to go on from")


def _recipes(space: SearchSpace, initial: Sequence[Mapping[str, object]]) -> list[Tokens]:
    """Token sequences of the genotypes to start from, each once."""
    recipes: dict[Tokens, None] = {}
    for place, values in enumerate(initial):
        try:
            recipes[space.encode(space.genotype(values))] = None
        except InputError as error:
            raise InputError(f"initial[{place}]: {error}") from None
    return list(recipes)


def _terms(
    space: SearchSpace,
    directions: tuple[Direction, ...],
    seed: int,
    population: int,
    recipes: list[Tokens],
    context: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """All that decides which trials come and what they give; a journal is resumed only under the same terms."""
    terms = {
        "directions": directions,
        "seed": seed,
        "population": population,
        "initial": recipes,
        "genes": space.names,
        **{f"gene {name!r}": repr(gene) for name, gene in space.genes.items()},
        **{f"context {name!r}": value for name, value in (context or {}).items()},
    }
    return {name: as_json(value, name) for name, value in terms.items()}
