"""The search itself: propose a genotype, evaluate it, write it down, learn from it; until the budget is spent."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnas_ext.search.actors import Actors
from gnas_ext.search.budget import Budget
from gnas_ext.search.cluster import Cluster
from gnas_ext.search.executor import Here, Job
from gnas_ext.search.halving import Halving
from gnas_ext.search.journal import Journal
from gnas_ext.search.processes import Processes
from gnas_ext.search.proposer import Proposal, Proposer
from gnas_ext.search.study import Stop, Study
from gnas_ext.search.terms import check, check_fidelities, check_workers, recipes_of, terms_of
from gnas_ext.search.trial import Trial

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gnas_ext.search.evaluation import Evaluate, Result
    from gnas_ext.search.executor import Executor
    from gnas_ext.search.genotype import Genotype
    from gnas_ext.search.space import SearchSpace
    from gnas_ext.search.study import Direction


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
    initial_share: float = 1.0,
    first_share: float = 0.0,
    fidelities: Sequence[float] = (),
    journal: str | os.PathLike[str] | None = None,
    resume: bool = False,
    context: Mapping[str, Any] | None = None,
    predict: bool = True,
    decode: bool = False,
    workers: int = 0,
    ray: str | Cluster | None = None,
    trial_seconds: float = math.inf,
    reserve: Callable[[Study], float] | None = None,
    expected: Callable[[Genotype], float] | None = None,
    spared: Callable[[Genotype], float] | None = None,
    on_trial: Callable[[Study, Trial], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Study:
    """Searches a space by evolution; no genotype is evaluated twice.

    An evaluation that raises an Exception, or does not return one finite number an objective, makes a failed trial, and
    the search goes on; in a worker process, so does one that kills its process, or takes too long. Ctrl-C ends the
    search and returns what there is. Given the same arguments and an `evaluate` that repeats exactly, the trials repeat
    exactly, also when a search was killed at any moment and resumed; with several workers, the order is free.

    Args:
        space: genes and what is valid.
        evaluate: takes a Genotype; returns a number, one number an objective, or an `Outcome`.
        evaluations: trials in all, failed ones and those of earlier runs included.
        minutes: from now on; no trial is started that is not expected to end in time. At least one budget is needed.
        directions: "maximize" or "minimize", one an objective.
        seed: another seed, another search.
        population: how many of the best have children; as many trials come first that are random or `initial`, or half
            as many but at least 8 where a predictor needs no more.
        initial: genotypes to evaluate first, as dicts; one that is named twice is evaluated once. `best_of_earlier`
            has those of another study.
        initial_share: of the minutes; what is left of `initial` when it is over, or is not expected to be done by then,
            is left out.
        first_share: of the children that a predictor ranks (for minutes, without fidelities: of their time), how
            many are ranked by the first objective alone: where that decides what is taken in the end. Of the rest, each
            weighs the objectives anew.
        fidelities: for successive halving, what shares of a full evaluation there are, rising, the last 1, such as
            (1/9, 1/3, 1): `evaluate` gets one as its second argument. All genotypes start at the lowest; of those that
            were evaluated at one, the best third goes on to the next. Each evaluation is a trial of its own; `best` and
            `front` are of the full ones.
        journal: file to which each trial is appended as it ends, an Optuna journal (`optuna-dashboard FILE` shows it).
        resume: goes on where the journal ends; starts a new one where there is none.
        context: what the values depend on besides the genotype (the hash of a data file, say), as JSON. The journal
            keeps it: resuming is refused if it, the genes, directions, seed, population, `initial`, `first_share` or
            fidelities have changed.
        predict: rank many children by what finished trials say of them (`search.predictor`), and evaluate the best;
            without, children are evaluated as they come.
        decode: let an encoder–decoder propose some of these children, from a space that it learns (`search.latent`);
            needs `predict`.
        workers: processes that evaluate side by side, with the cores divided among them; 0 evaluates here, one trial
            after the other. A worker that dies is replaced and its trial repeated once. `evaluate` is pickled for them,
            and, as always with processes, a script must guard its own start: `if __name__ == "__main__":`.
        ray: the workers run on a Ray cluster, "auto" or HOST:PORT, one core each; a `Cluster` says what else they ask
            for. Without `workers`, there are as many as it has room for.
        trial_seconds: a trial that takes longer has failed; needs `workers` or `ray`.
        reserve: seconds of the minutes that are to be left for what comes after, from the study so far; asked before
            each trial.
        expected: seconds that an evaluation is expected to take, where that is known; learned from the trials if not.
            Not with fidelities.
        spared: seconds of what an evaluation is expected to take that it would be spared now, as earlier ones did part
            of its work (`Outcome.spared`). With minutes, what still fits is told by it, and of the most promising
            children one whose work is half done comes first. Not with fidelities, nor with workers, whose memory is
            their own.
        on_trial: called after each trial with the study so far and the trial.
        clock: seconds that never go back.

    Returns:
        The study; `study.stopped` says why the search ended.

    Raises:
        InputError: a genotype of `initial` is not of the space; the space allows nothing; the journal exists already
            (without `resume`), belongs to another search, is damaged, in use or cannot be written; `evaluate` cannot be
            sent to workers, or these do not come up; there is no such cluster.
        ValueError: no budget or a negative one, wrong directions, a population below 2, `resume` without `journal`,
            negative workers, `trial_seconds` without workers, an `initial_share` or `first_share` outside 0 to 1,
            `expected` or `spared` beside fidelities, `spared` beside workers.
    """
    directions = tuple(directions)
    check(directions, population, initial_share, first_share, resume, journal)
    if decode and not predict:
        raise ValueError("evolve: decode=True needs predict=True: what is decoded is ranked by the predictor")
    check_workers(workers, ray, trial_seconds)
    check_fidelities(fidelities)
    if expected is not None and fidelities:
        raise ValueError("evolve: expected= is not for fidelities, whose seconds are learned")
    if spared is not None and (fidelities or workers or ray is not None):
        raise ValueError("evolve: spared= is not for fidelities or workers, of which nobody knows what is at hand")
    recipes = recipes_of(space, initial)
    terms = terms_of(space, directions, seed, population, recipes, predict, decode, first_share, fidelities, context)
    breeder = partial(
        Proposer, space, directions, seed, population, recipes, predict, decode, expected, spared, first_share
    )
    proposer = Halving(fidelities, space, directions, population, breeder) if fidelities else breeder()
    study = Study(space, directions)
    budget = Budget(evaluations, minutes, clock, (lambda: reserve(study)) if reserve else float)

    with ExitStack() as stack:
        # Before the journal: a cluster that is not there should leave none.
        executor = stack.enter_context(closing(_executor(evaluate, directions, workers, ray, trial_seconds, clock)))
        log = None
        if journal is not None:
            log = stack.enter_context(Journal(Path(journal), space, directions, terms, resume))
            for trial in log.trials():
                study.trials.append(trial)
                proposer.learn(trial)
        try:
            for trial in _trials(study, proposer, budget, executor, initial_share):
                if log:
                    log.append(trial)
                study.trials.append(trial)
                proposer.learn(trial)
                if on_trial:
                    on_trial(study, trial)
        except KeyboardInterrupt:
            study.stopped = Stop.INTERRUPTED
    return study


def _executor(
    evaluate: Evaluate,
    directions: tuple[Direction, ...],
    workers: int,
    ray: str | Cluster | None,
    trial_seconds: float,
    clock: Callable[[], float],
) -> Executor:
    if ray is not None:
        cluster = ray if isinstance(ray, Cluster) else Cluster(ray)
        return Actors(evaluate, directions, cluster, workers, trial_seconds)
    if workers:
        return Processes(evaluate, directions, workers, trial_seconds)
    return Here(evaluate, directions, clock)


def _trials(
    study: Study, proposer: Proposer | Halving, budget: Budget, executor: Executor, initial_share: float
) -> Iterator[Trial]:
    """Keeps the executor busy until the study may grow no further; each trial as it ends."""
    running: dict[int, Proposal] = {}
    while True:
        stop = budget.spent(study.evaluations + len(running))
        while stop is None and len(running) < executor.capacity:
            number = study.evaluations + len(running)
            proposer.limit_initial(budget.left_of(initial_share))
            proposal = proposer.propose(number, {waiting.tokens for waiting in running.values()}, budget.left())
            if isinstance(proposal, Stop):
                stop = proposal
                break
            running[number] = proposal
            fidelity = proposal.fidelity if isinstance(proposer, Halving) else None
            executor.start(Job(number, study.space.decode(proposal.tokens), fidelity))
            stop = budget.spent(study.evaluations + len(running))
        # What runs may leave something to do, even where there was nothing before.
        if running:
            for job, result in executor.wait():
                yield _trial(study.evaluations, job, running.pop(job.number), result)
        elif stop is not None:
            study.stopped = stop
            return


def _trial(number: int, job: Job, proposal: Proposal, result: Result) -> Trial:
    return Trial(
        number=number,
        genotype=job.genotype,
        state="failed" if result.reason else "complete",
        values=result.values,
        reason=result.reason,
        seconds=result.seconds,
        origin=proposal.origin,
        parents=proposal.parents,
        attributes=result.attributes,
        fidelity=proposal.fidelity,
    )
