"""Where a study is kept so that nothing is lost: a file to which each trial is appended as it ends, in one line.

The carrier is Optuna's journal, so that optuna-dashboard and `optuna.load_study` read it: a trial's live genes are its
parameters, the rest of it stands in the user attributes. A line is there in full or the trial is run again; nothing
else needs to be stored, for proposals follow from the seed and the trials (for minutes, from what takes how long too).
One driver at a time holds the file.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from gnas_ext.errors import InputError
from gnas_ext.search.genes import Float, Integer, LogFloat
from gnas_ext.search.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    import optuna

    from gnas_ext.search.genes import Gene
    from gnas_ext.search.space import SearchSpace
    from gnas_ext.search.study import Direction

STUDY = "gnas_ext.search"
TERMS = "terms"
# What every line that Optuna writes begins with: a file that does not is somebody else's, and left alone.
FIRST_BYTES = b'{"op_code"'

# A value of the terms is shown up to this length: a list of recipes fills a screen.
SHOWN = 60

_logger = logging.getLogger(__name__)


class OtherSearchError(InputError):
    """The journal is one of ours, but of another search."""


class Journal:
    """The file of one study, held until it is closed; a context manager.

    Args:
        path: the file; a new one is made, in a folder that exists.
        space, directions: of the study.
        terms: what decides about the trials, name -> JSON; must be what the file says, if it says anything.
        resume: whether the file may hold trials already. A last line that was cut short is then removed, and a warning
            logged.

    Raises:
        InputError: the file holds something and `resume` is false; it has other terms (`OtherSearchError`), is no such
            journal or is damaged; another driver holds it; it cannot be written.
    """

    def __init__(
        self, path: Path, space: SearchSpace, directions: Sequence[Direction], terms: dict[str, Any], resume: bool
    ) -> None:
        self._path = path
        self._space = space
        try:
            # Held for as long as the file is open; not by a lock file, which would outlive a kill.
            self._file = path.open("ab+")
        except OSError as error:
            raise InputError(f"{path}: cannot write a journal here: {error.strerror}") from None
        try:
            with _writing(path):
                _lock(self._file, path)
                if resume:
                    _repair(self._file, path)
            if not resume and path.stat().st_size:
                raise InputError(
                    f"{path}: this journal holds a search already; go on with it (--resume, resume=True) "
                    "or name another file"
                )
            self._study = self._load(directions)
            self._agree(terms)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def trials(self) -> list[Trial]:
        """The trials that the file holds, in order.

        Raises:
            InputError: one is not of this space, or was not written by `append`.
        """
        return [self._restored(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def append(self, trial: Trial) -> None:
        """Writes a trial to the disk; once this returns, it is not lost.

        Raises:
            InputError: the disk is full or the file cannot be written; what was written so far can be resumed.
        """
        import optuna

        states = optuna.trial.TrialState
        # What was not evaluated in full must not look like a best trial to Optuna's plots.
        complete = states.COMPLETE if trial.fidelity == 1 else states.PRUNED
        frozen = optuna.trial.create_trial(
            state=complete if trial.state == "complete" else states.FAIL,
            values=(list(trial.values) or None) if trial.fidelity == 1 else None,
            params=trial.genotype.as_dict(),
            distributions={name: _distribution(self._space.genes[name]) for name in trial.genotype},
            user_attrs={
                "tokens": self._space.encode(trial.genotype),
                "origin": trial.origin,
                "parents": trial.parents,
                "seconds": trial.seconds,
                "reason": trial.reason,
                "attributes": trial.attributes,
                **({} if trial.fidelity == 1 else {"fidelity": trial.fidelity, "values": trial.values}),
            },
        )
        frozen.datetime_start = datetime.now() - timedelta(seconds=trial.seconds)
        with _writing(self._path):
            self._study.add_trial(frozen)

    def _load(self, directions: Sequence[Direction]) -> optuna.Study:
        """The study of the file; a new one if the file is empty."""
        import optuna
        from optuna.storages.journal import JournalFileBackend, JournalStorage

        with _quiet(), _writing(self._path):
            # Optuna's own lock, a link beside the file, would outlive a kill; and this driver holds the file anyway.
            storage = JournalStorage(JournalFileBackend(str(self._path), lock_obj=cast("Any", _Held())))
            if not self._path.stat().st_size:
                return optuna.create_study(study_name=STUDY, storage=storage, directions=list(directions))
            try:
                return optuna.load_study(study_name=STUDY, storage=storage)
            except KeyError:
                raise InputError(
                    f"{self._path}: an Optuna journal, but not of a gnas_ext search; name another file"
                ) from None

    def _agree(self, terms: dict[str, Any]) -> None:
        """Writes the terms to a new journal, compares them with those of an old one."""
        kept = self._study.user_attrs.get(TERMS)
        if kept is None:
            with _writing(self._path):
                self._study.set_user_attr(TERMS, terms)
            return
        changes = [
            f"{name} ({_shown(kept.get(name, 'nothing'))} there, {_shown(terms.get(name, 'nothing'))} now)"
            for name in dict.fromkeys([*kept, *terms])
            if kept.get(name) != terms.get(name)
        ]
        if changes:
            raise OtherSearchError(
                f"{self._path}: cannot resume, the journal is of another search: {'; '.join(changes)}. "
                "Use the same settings or another journal"
            )

    def _restored(self, frozen: optuna.trial.FrozenTrial) -> Trial:
        kept = frozen.user_attrs
        if "tokens" not in kept:
            raise InputError(
                f"{self._path}: trial {frozen.number} was not written by a gnas_ext search; use another journal"
            )
        try:
            genotype = self._space.decode(kept["tokens"])
        except InputError as error:
            raise InputError(f"{self._path}: trial {frozen.number} is not of this space: {error}") from None
        return Trial(
            number=frozen.number,
            genotype=genotype,
            state="failed" if kept["reason"] else "complete",
            values=tuple(frozen.values or kept.get("values", ())),
            reason=kept["reason"],
            seconds=kept["seconds"],
            origin=kept["origin"],
            parents=tuple(kept["parents"]),
            attributes=kept["attributes"],
            fidelity=kept.get("fidelity", 1.0),
        )


def read_values(path: Path) -> tuple[tuple[Direction, ...], list[tuple[dict[str, Any], tuple[float, ...]]]]:
    """The directions of a journal's study, and genotype and values of each complete trial, of whatever space it is.

    Raises:
        InputError: there is no such file, or it is not the journal of a search.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    if not path.is_file():
        raise InputError(f"{path}: there is no such journal")
    try:
        with path.open("rb") as file:
            first = file.read(len(FIRST_BYTES))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if first != FIRST_BYTES:
        raise InputError(f"{path}: not a journal of a search; name another file")
    with _quiet():
        storage = JournalStorage(JournalFileBackend(str(path), lock_obj=cast("Any", _Held())))
        try:
            study = optuna.load_study(study_name=STUDY, storage=storage)
        except (KeyError, ValueError):
            raise InputError(f"{path}: damaged, or not the journal of a gnas_ext search; name another file") from None
    directions = tuple(cast("Direction", direction.name.lower()) for direction in study.directions)
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return directions, [(dict(trial.params), tuple(trial.values)) for trial in complete]


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


class _Held:
    """A lock for Optuna's file backend that is held already."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def discard(path: Path) -> None:
    """Removes a journal, if there is one.

    Raises:
        InputError: a driver holds it, or it cannot be removed.
    """
    try:
        with path.open("r+b") as file:  # over NFS only what may be written can be locked
            _lock(file, path)
            path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{path}: cannot remove this journal: {error.strerror}") from None


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        # flock, not lockf: Optuna opens and closes the same file, which would drop a lock of the other kind.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{path}: another search is writing this journal; wait for it, or name another file") from None


def _repair(file: BinaryIO, path: Path) -> None:
    """Removes a last line that was cut short, as a kill in the middle of a write leaves it."""
    file.seek(0)
    lines = file.readlines()
    if lines and not lines[0].startswith(FIRST_BYTES[: len(lines[0])]):
        raise InputError(f"{path}: not a journal of a search; name another file")
    good = 0
    for number, line in enumerate(lines, start=1):
        if not _is_whole(line):
            if number < len(lines):
                raise InputError(
                    f"{path}: line {number} is damaged; restore the file from a copy, or name another file"
                )
            file.truncate(good)
            os.fsync(file.fileno())
            _logger.warning("%s: the last line was cut short and is removed; its trial runs again", path)
            return
        good += len(line)


def _is_whole(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        return "op_code" in json.loads(line)
    except ValueError:
        return False


def _distribution(gene: Gene) -> optuna.distributions.BaseDistribution:
    """How Optuna's plots see a gene."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(gene, Integer):
        return IntDistribution(gene.low, gene.high, step=gene.step)
    if isinstance(gene, (Float, LogFloat)):
        return FloatDistribution(gene.low, gene.high, log=isinstance(gene, LogFloat))
    return CategoricalDistribution(list(gene.values))


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna without its greetings."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot write the journal: {error.strerror}; mend that and resume, what is finished is kept"
        ) from None
