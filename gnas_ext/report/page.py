"""Where does all of it come together? One HTML file that needs no network, no other file and no script."""

from __future__ import annotations

import math
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from gnas_ext.evaluate.cost import human_bytes
from gnas_ext.report import plots
from gnas_ext.report.anatomy import diagram_of
from gnas_ext.report.architecture import can_be_drawn, draw
from gnas_ext.report.evolution import change, goal, importance_table, value
from gnas_ext.report.files import write_text
from gnas_ext.report.mermaid import to_mermaid
from gnas_ext.report.stages import acts_in, is_graph, words
from gnas_ext.report.styles import styles
from gnas_ext.report.verdict import verdict

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from gnas_ext.report.data import ReportData, TrialPoint

# So many reasons of failures, the most frequent ones.
_REASONS = 5


def write_report(path: str | os.PathLike[str], data: ReportData) -> Path:
    """Writes the report; a file that is already there is replaced at once or not at all.

    Args:
        path: where to; folders above it are made.
        data: what to show. Ids, titles and genes may hold anything: they are shown as text.

    Returns:
        The path.

    Raises:
        InputError: the file cannot be written.
        ValueError: the comparison lacks the found model or the reference.
    """
    return write_text(Path(path), render(data), "the report")


def render(data: ReportData) -> str:
    """The text of the report."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "bytes": human_bytes,
        "figure": _figure,
        "count": "{:,}".format,
        "words": words,
        "goal": goal,
        "value": value,
        "change": change,
    }
    return environment.from_string(
        resources.files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    ).render(
        data=data,
        verdict=verdict(data.comparison, data.found, data.reference),
        best=_best(data),
        css=Markup(styles()),
        pareto=plots.pareto(data.trials, data.chosen) if data.trials else "",
        history=plots.history(data.trials) if data.trials else "",
        curve_ndcg=plots.curve_ndcg(data.curve) if any(point.ndcg is not None for point in data.curve) else "",
        curve_loss=plots.curve_loss(data.curve) if data.curve else "",
        architecture=draw(data.genotype) if can_be_drawn(data.genotype) else "",
        mermaid=to_mermaid(data.genotype) if can_be_drawn(data.genotype) else "",
        acts_in=_acts_in(data.genotype),
        importances=importance_table(data.importances),
        trials_told=_trials_told(data.trials, data.cheap),
        failures=Counter(" ".join(reason.split()) for reason in data.failures).most_common(_REASONS),
        epochs_told=_counted(len(data.curve), "epoch"),
    )


def _acts_in(genotype: Mapping[str, object]) -> Mapping[str, str]:
    """Where each gene acts, for people."""
    titles = {} if is_graph(genotype) else {gene: title.lower() for gene, title in diagram_of(genotype).acts_in.items()}
    return {gene: "everything" if gene == "family" else titles.get(gene) or acts_in(gene) for gene in genotype}


def _figure(value: float | None, digits: int = 4) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _best(data: ReportData) -> dict[str, str]:
    """The best printed figure of each column, to be set in bold."""
    columns = {
        "recall": [result.metrics.get("recall@20", math.nan) for result in data.comparison],
        "ndcg": [result.metrics.get("ndcg@20", math.nan) for result in data.comparison],
    }
    best = {
        name: _figure(max((v for v in values if math.isfinite(v)), default=None)) for name, values in columns.items()
    }
    best["size"] = human_bytes(min(result.size_bytes for result in data.comparison))
    times = [result.latency_ms for result in data.comparison if math.isfinite(result.latency_ms)]
    best["latency"] = _figure(min(times, default=None), 3)
    return best


def _trials_told(trials: Sequence[TrialPoint], cheap: int) -> str:
    """How many trials there were, where they came from and how many failed."""
    origins = Counter(trial.origin for trial in trials if trial.origin)
    told = ", ".join(f"{count} {origin}" for origin, count in origins.most_common())
    failed = sum(trial.state != "complete" for trial in trials)
    they = "It is" if len(trials) == 1 else "They are"
    before = f" {they} the best of {_counted(cheap, 'cheap one')}, on fewer users and passes." if cheap else ""
    return (
        _counted(len(trials), "trial")
        + (f": {told}" if told else "")
        + (f"; {failed} failed" if failed else "")
        + f".{before}"
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
