"""How did the search and the training go? Figures by matplotlib, as SVG that takes its colours from the page."""

from __future__ import annotations

import io
import math
import re
from typing import TYPE_CHECKING, Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from gnas_ext.evaluate.cost import human_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from gnas_ext.report.data import CurvePoint, TrialPoint

# Stand-ins that matplotlib writes into the SVG and that become the page's colours: light, dark or for print.
INK, MUTED, GRID, ACCENT, WARM = "#010203", "#010204", "#010205", "#010206", "#010207"
_PAGE_COLOURS = {INK: "--ink", MUTED: "--muted", GRID: "--line", ACCENT: "--accent", WARM: "--warm"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be selected, read aloud and takes the page's font
    "font.size": 8.2,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
}
_SIZE = (4.1, 2.95)  # inches


def pareto(trials: Sequence[TrialPoint], chosen: int | None) -> Markup:
    """NDCG against bytes of all trials that gave both, the front among them, and the chosen one marked."""
    points = [(t.bytes, t.ndcg, t.number) for t in trials if _usable(t) and t.bytes and t.ndcg is not None]
    best = front([(size, ndcg) for size, ndcg, _ in points])
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes("model size (log scale)", "validation NDCG@20")
        axes.scatter([p[0] for p in points], [p[1] for p in points], s=14, color=MUTED, alpha=0.45, linewidth=0)
        axes.step([p[0] for p in best], [p[1] for p in best], where="post", color=ACCENT, linewidth=1.4)
        axes.plot([p[0] for p in best], [p[1] for p in best], "o", color=ACCENT, markersize=4, label="Pareto front")
        for size, ndcg, number in points:
            if number == chosen:
                axes.plot([size], [ndcg], "*", color=WARM, markersize=12, label=f"chosen: trial {number}")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(_tick))
        axes.xaxis.set_minor_formatter(NullFormatter())
        sizes = [p[0] for p in points] or [1]
        axes.set_xlim(min(sizes) / 1.4, max(sizes) * 1.4)
        axes.xaxis.set_major_locator(LogLocator(subs=_marks(max(sizes) / min(sizes))))
        axes.legend(loc="best")
        label = (
            f"Scatter plot: validation NDCG@20 against model size of {len(points)} trials; {len(best)} on the front."
        )
        return _svg(figure, "pareto", label)


def history(trials: Sequence[TrialPoint]) -> Markup:
    """NDCG of each trial and the best so far; failed trials as marks on the axis."""
    points = [(t.number, t.ndcg) for t in trials if _usable(t) and t.ndcg is not None]
    failed = [t.number for t in trials if not _usable(t)]
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes("trial", "validation NDCG@20")
        axes.scatter([p[0] for p in points], [p[1] for p in points], s=14, color=MUTED, alpha=0.45, linewidth=0)
        so_far, height = [], -math.inf
        for _, ndcg in points:
            height = max(height, ndcg)
            so_far.append(height)
        axes.step([p[0] for p in points], so_far, where="post", color=ACCENT, linewidth=1.6, label="best so far")
        if failed:
            axes.plot(
                failed, [0.02] * len(failed), "x", transform=axes.get_xaxis_transform(), color=WARM, markersize=4,
                label="failed",
            )  # fmt: skip
        _whole_numbers(axes)
        axes.legend(loc="lower right")
        best = f"the best reaches {height:.4f}" if points else "none gave a result"
        return _svg(figure, "history", f"Line plot: best validation NDCG@20 by trial, {len(trials)} trials; {best}.")


def curve_ndcg(curve: Sequence[CurvePoint]) -> Markup:
    """Validation NDCG by epoch, the best epoch marked."""
    points = [(p.epoch, p.ndcg) for p in curve if p.ndcg is not None and math.isfinite(p.ndcg)]
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes("epoch", "validation NDCG@20")
        axes.plot([p[0] for p in points], [p[1] for p in points], color=ACCENT, linewidth=1.6)
        label = "Line plot: validation NDCG@20 by epoch."
        if points:
            epoch, ndcg = max(points, key=lambda point: point[1])
            axes.plot([epoch], [ndcg], "o", color=WARM, markersize=6, label=f"best: {ndcg:.4f}, epoch {epoch}")
            axes.legend(loc="lower right")
            label = f"{label[:-1]}; the best is {ndcg:.4f} after epoch {epoch}."
        _whole_numbers(axes)
        return _svg(figure, "ndcg", label)


def curve_loss(curve: Sequence[CurvePoint]) -> Markup:
    """Training loss by epoch."""
    points = [(p.epoch, p.loss) for p in curve if math.isfinite(p.loss)]
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes("epoch", "training loss")
        axes.plot([p[0] for p in points], [p[1] for p in points], color=ACCENT, linewidth=1.6)
        _whole_numbers(axes)
        ends = f": from {points[0][1]:.4g} to {points[-1][1]:.4g}" if points else ""
        return _svg(figure, "loss", f"Line plot: training loss by epoch{ends}.")


def front(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The (bytes, NDCG) pairs that no other pair beats, by rising bytes; equal pairs once."""
    best: list[tuple[int, float]] = []
    for size, ndcg in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or ndcg > best[-1][1]:
            best.append((size, ndcg))
    return best


def _marks(ratio: float) -> tuple[float, ...]:
    """Where sizes are marked within each decade: the more decades, the fewer, so that words do not touch."""
    if ratio < 60:
        return (1.0, 2.0, 5.0)
    return (1.0, 3.0) if ratio < 1_000 else (1.0,)


def _tick(size: float, _: int | None = None) -> str:
    return human_bytes(round(size)).replace(".00 ", " ").replace(".0 ", " ")


def _usable(trial: TrialPoint) -> bool:
    return trial.state == "complete" and trial.ndcg is not None and math.isfinite(trial.ndcg)


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.tick_params(which="both", length=0)
    return figure, axes


def _whole_numbers(axes: Axes) -> None:
    """Has whole numbers only along x, also where there are few."""
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, math.floor(low) + 0.5), max(high, math.ceil(high) - 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _svg(figure: Figure, name: str, label: str) -> Markup:
    """The figure as an <svg> element: scales with the page, takes its colours, and shares no id with another one."""
    written = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(
            written, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    # In a page, a style element inside an SVG would hold for the whole page; page.css says the same for plots only.
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    head = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} role="img" aria-label="{escape(label)}">'
    svg = head + svg[svg.index(">") + 1 :]
    for stand_in, variable in _PAGE_COLOURS.items():
        svg = svg.replace(stand_in, f"var({variable})")
    return Markup(svg)
