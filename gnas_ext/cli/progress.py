"""How far is it? One bar for the search, one for the training at hand, with the time that is left.

Under them a line on what the search has found, and one on the last trial that failed; all in 80 columns.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from rich.console import Console, RenderableType

    from gnas_ext.compress import Recipe
    from gnas_ext.search.study import Study
    from gnas_ext.search.trial import Trial
    from gnas_ext.train.loop import Epoch

_Bars = TypeVar("_Bars", bound=Progress)


class _TimeLeft(ProgressColumn):
    """What is left of the budget in minutes; without one, what the pace so far promises."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        if left is None:
            left = task.time_remaining
        if left is None:
            return Text("-:-- left")
        minutes, seconds = divmod(max(0, round(left)), 60)
        return Text(f"{minutes}:{seconds:02} left")


class _Found(Progress):
    """Bars with lines under them."""

    found: Sequence[Text] = ()

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, then the lines."""
        yield from super().get_renderables()
        yield from self.found


def standing(study: Study) -> list[Text]:
    """What a search has found so far, a line, and the last trial that failed, another; for people."""
    failed = [trial for trial in study.trials if trial.state != "complete"]
    told = ["none complete yet"]
    if study.complete:
        volume = study.relative_hypervolume
        told = [
            f"best NDCG {study.best.values[0]:.4f}, trial {study.best.number}",
            *([f"front of {len(study.front)}"] if len(study.directions) > 1 else []),
            f"hypervolume {'–' if volume is None else f'{volume:.3f}'}",
        ]
    told += [f"{len(failed)} failed"] if failed else []
    lines = [Text(f"  {'; '.join(told)}", no_wrap=True, overflow="ellipsis")]
    if failed:
        reason = " ".join(failed[-1].reason.split())
        lines.append(
            Text(f"  trial {failed[-1].number} failed: {reason}", style="yellow", no_wrap=True, overflow="ellipsis")
        )
    return lines


def _bars(console: Console, kind: type[_Bars]) -> _Bars:
    return kind(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%"),
        _TimeLeft(),
        TextColumn("{task.fields[note]}"),
        console=console,
        refresh_per_second=4,
    )


class SearchProgress:
    """Shows a search while it runs; a context manager.

    Args:
        console: where to.
        minutes, evaluations: the budget of the search; one may be None.
        epochs: of training a trial at most.
        away: trials train out of sight, in workers; otherwise a bar shows the passes of one.
    """

    def __init__(
        self, console: Console, minutes: float | None, evaluations: int | None, epochs: int, away: bool = False
    ) -> None:
        self._seconds = None if minutes is None else minutes * 60
        self._evaluations = evaluations
        self._started = time.monotonic()
        self._trials = 0
        self._bars = _bars(console, _Found)
        total = self._seconds if self._seconds is not None else evaluations
        self._search = self._bars.add_task("search", total=total, note="")
        self._training = self._bars.add_task("trial 1", total=epochs, note="", visible=not away)
        self._searching = True

    def __enter__(self) -> SearchProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:  # classics are solved at once, without passes
            training = next(task for task in self._bars.tasks if task.id == self._training)
            self._bars.update(self._training, completed=training.total)
        self._bars.stop()

    def on_epoch(self, epoch: Epoch) -> None:
        """A pass of the training at hand has ended."""
        score = "" if epoch.score is None else f"NDCG {epoch.score:.4f}"
        self._bars.update(self._training, completed=epoch.number, note=score)
        self._advance()

    def on_trial(self, study: Study, trial: Trial) -> None:
        """A trial has ended."""
        self._trials = study.evaluations
        self._bars.update(self._search, note="1 trial" if self._trials == 1 else f"{self._trials} trials")
        self._bars.found = standing(study)
        self._bars.reset(self._training, description=f"trial {self._trials + 1}", note="")
        self._advance()

    def on_rerun(self, done: int, wanted: int) -> None:
        """One of the best has been trained with another seed."""
        self._bars.update(self._search, note=f"{self._trials} trials, finals {done} of {wanted}")
        self._bars.reset(self._training, description=f"final {done + 1}", note="")

    def on_recipe(self, recipe: Recipe) -> None:
        """A recipe is about to make the best smaller, to keep to limits."""
        self._bars.update(self._search, note=f"{self._trials} trials, to limits")
        self._bars.reset(self._training, description="recipe", note=str(recipe)[:40], visible=True)

    def on_chosen(self, trial: Trial) -> None:
        """The search is over; the chosen model is trained for as many passes as were best."""
        self._searching = False
        search = next(task for task in self._bars.tasks if task.id == self._search)
        self._bars.update(self._search, completed=search.total, left=0)
        passes = max(1, trial.attributes["best_epoch"])
        self._bars.reset(self._training, description="retrain", total=passes, note="", visible=True)

    def _advance(self) -> None:
        if not self._searching:
            return
        if self._seconds is None:
            self._bars.update(self._search, completed=self._trials)
            return
        passed = time.monotonic() - self._started
        # With both budgets the one that is further spent decides.
        share = passed / self._seconds
        left = self._seconds - passed
        if self._evaluations and self._trials / self._evaluations > share:
            share = self._trials / self._evaluations
            left = passed / share * (1 - share)
        self._bars.update(self._search, completed=min(1.0, share) * self._seconds, left=left)


class ComparisonProgress:
    """Shows how models are trained and measured beside each other; a context manager.

    Args:
        console: where to.
        models: how many there are.
        users: how many are ranked for each.
    """

    def __init__(self, console: Console, models: int, users: int) -> None:
        self._users = users
        self._bars = _bars(console, Progress)
        self._models = self._bars.add_task("compare", total=models, note="")
        self._step = self._bars.add_task("rank   ", total=users, note="")

    def __enter__(self) -> ComparisonProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def training(self, name: str, passes: int) -> None:
        """A model is about to be trained, for so many passes at most."""
        self._bars.update(self._models, note=name)
        self._bars.reset(self._step, description="train  ", total=passes, note="")

    def on_epoch(self, epoch: Epoch) -> None:
        """A pass has ended."""
        self._bars.update(self._step, completed=epoch.number)

    def ranking(self, name: str) -> None:
        """A model is about to be ranked for all users."""
        self._bars.update(self._models, note=name)
        self._bars.reset(self._step, description="rank   ", total=self._users, note="")

    def on_users(self, users: int) -> None:
        """So many more users are ranked."""
        self._bars.advance(self._step, users)

    def measured(self) -> None:
        """A model is done."""
        self._bars.advance(self._models)
