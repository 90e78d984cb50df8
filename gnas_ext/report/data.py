"""What goes into a report? Plain values, so that whoever has a comparison to show can make one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gnas_ext.compress import Report
    from gnas_ext.data.interactions import Step
    from gnas_ext.evaluate.compare import ModelResult


@dataclass(frozen=True)
class TrialPoint:
    """One trial of the search.

    Attributes:
        number: 0 for the first.
        ndcg: NDCG@20 on validation; None where the trial failed.
        bytes: size of the model; None where the trial failed.
        origin: where the genotype came from ("random", "mutation" …).
        state: "complete", or anything else for a trial that gave no result.
    """

    number: int
    ndcg: float | None
    bytes: int | None
    origin: str = ""
    state: str = "complete"


@dataclass(frozen=True)
class FinalistRow:
    """One of the best trials, trained with several seeds.

    Attributes:
        number: of the trial.
        mean: of its NDCG@20, on validation and on other parts of the log, brought to the level of validation.
        spread: standard deviation over seeds, each judged on a part of its own.
        seeds: how many there were.
        bytes: size of the model.
    """

    number: int
    mean: float
    spread: float
    seeds: int
    bytes: int


@dataclass(frozen=True)
class CurvePoint:
    """One epoch of the final training.

    Attributes:
        epoch: 1 for the first.
        loss: mean training loss.
        ndcg: NDCG@20 on validation after the epoch; None where it was not measured.
    """

    epoch: int
    loss: float
    ndcg: float | None = None


@dataclass(frozen=True)
class GeneShare:
    """How much one gene decides over one objective.

    Attributes:
        gene: its name, or that of a cell.
        objective: "ndcg", "bytes", "ms" or another name.
        importance: share of the variance over the space, 0 to 1.
        spread: its standard deviation over models.
    """

    gene: str
    objective: str
    importance: float
    spread: float


@dataclass(frozen=True)
class Ancestor:
    """One trial on the line that leads to the chosen one.

    Attributes:
        number: of the trial.
        origin: where the genotype came from ("random", "mutation" …).
        parents: numbers of the trials that it comes from.
        changes: (gene, value before, value after, number of the other parent that it was taken from) of each gene that
            differs from the parent on the line; None for a value where the gene is dead, and for no other parent.
        figures: (objective, value, change from the parent on the line, whether that is better) in order; values may be
            None where the trial failed, and changes where there is nothing to compare with.
    """

    number: int
    origin: str
    parents: Sequence[int] = ()
    changes: Sequence[tuple[str, str | None, str | None, int | None]] = ()
    figures: Sequence[tuple[str, float | None, float | None, bool]] = ()


@dataclass(frozen=True)
class ReportData:
    """Everything that a report shows. What is empty has no section.

    Attributes:
        title: the page's title.
        comparison: the models that were measured in one run, with metrics "recall@20" and "ndcg@20" on the test set.
        found: name of the found model in `comparison`.
        reference: name of the model in `comparison` that the found one should be smaller than; may be empty.
        facts: short headline facts in order ("Trials": "120 in 6.2 min").
        steps: what reading and cleaning did, in order.
        guesses: what was guessed about the file.
        split_method: how the log was cut.
        trials: the trials of the search, in order.
        cheap: how many more there were at lower fidelities, whose figures are not comparable.
        failures: why trials failed, those of any fidelity, a reason each.
        finalists: the trials that were trained with several seeds, among which one was chosen.
        chosen: number of the trial whose genotype was trained again.
        genotype: what was chosen, gene by gene.
        compression: what compression did to the found model; None where it did nothing.
        curve: the final training, epoch by epoch.
        importances: which genes matter, for each objective, by falling importance.
        fits: of each objective, how well the models behind `importances` rank trials that they have not seen.
        lineage: from the first ancestor to the chosen trial.
        recommendations: sample users, and titles for each from best to worst.
        command: what to type to make all this again.
        versions: version of each package.
    """

    title: str
    comparison: Sequence[ModelResult]
    found: str
    reference: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[Step] = ()
    guesses: Sequence[str] = ()
    split_method: str = ""
    trials: Sequence[TrialPoint] = ()
    cheap: int = 0
    failures: Sequence[str] = ()
    finalists: Sequence[FinalistRow] = ()
    chosen: int | None = None
    genotype: Mapping[str, object] = field(default_factory=dict)
    compression: Report | None = None
    curve: Sequence[CurvePoint] = ()
    importances: Sequence[GeneShare] = ()
    fits: Mapping[str, float] = field(default_factory=dict)
    lineage: Sequence[Ancestor] = ()
    recommendations: Mapping[str, Sequence[str]] = field(default_factory=dict)
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
