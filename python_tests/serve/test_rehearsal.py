"""Does what would end the server end another process?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gnas_ext.errors import InputError
from gnas_ext.serve import Current, rehearsal

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_fatal_to_load_is_not_loaded_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    current = Current(folder)
    before = current.now
    monkeypatch.setattr(rehearsal, "LOAD", "import os; os.abort()")
    assert not current.refresh(force=True)
    assert current.now is before
    assert current.error == f"{folder}: a process that loaded it was killed by signal 6: it is forged, or too large"


def test_what_never_ends_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "LOAD", "import time; time.sleep(60)")
    monkeypatch.setattr(rehearsal, "SECONDS", 0.1)
    with pytest.raises(InputError, match=r"not loaded within 0.1 s"):
        rehearsal.rehearse(folder)


def test_the_other_process_reads_the_artefact(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made to say by a signal that it refuses a folder, it does so for a bad one alone."""
    monkeypatch.setattr(rehearsal, "LOAD", rehearsal.LOAD.replace("pass", "import os; os.abort()"))
    rehearsal.rehearse(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="signal 6"):
        rehearsal.rehearse(folder)
