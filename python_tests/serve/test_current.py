"""Does a new artefact take the place of the old one, and a bad one not?"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from gnas_ext.errors import InputError
from gnas_ext.serve import Current
from python_tests.recommend.conftest import make_factors, make_sample

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_that_is_as_it_was_is_not_loaded_again(current: Current) -> None:
    before = current.now
    assert not current.refresh()
    assert current.now is before


def test_a_new_artefact_answers(current: Current, folder: Path) -> None:
    before = current.now
    make_sample("float32").save(folder, overwrite=True)
    assert current.refresh()
    assert current.now.sha256 != before.sha256
    assert current.now.recommender.manifest.tensors["user.rows"].dtype == "float32"
    assert before.recommender.manifest.tensors["user.rows"].dtype == "int8"
    assert (current.reloads, current.error) == (1, None)


def test_the_same_may_be_loaded_at_any_rate(current: Current) -> None:
    before = current.now
    assert current.refresh(force=True)
    assert current.now is not before
    assert current.now.sha256 == before.sha256


def test_a_bad_artefact_changes_nothing_until_it_is_good(current: Current, folder: Path) -> None:
    before = current.now
    good = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(good[:-1])
    assert not current.refresh()
    assert current.now is before
    assert current.error is not None
    assert "model.safetensors" in current.error
    assert not current.refresh()  # and is not read again and again
    (folder / "model.safetensors").write_bytes(good)
    assert current.refresh()
    assert current.error is None


def test_a_folder_that_has_gone_is_waited_for(current: Current, folder: Path) -> None:
    before = current.now
    shutil.move(folder, folder.with_name("elsewhere"))
    assert not current.refresh()
    assert current.now is before
    make_sample("int8", make_factors("int8", prior=False)).save(folder)
    assert current.refresh()


def test_a_mistake_of_ours_is_told_too(
    current: Current, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def load(folder: Path) -> None:
        raise KeyError("no")

    before = current.now
    monkeypatch.setattr("gnas_ext.serve.current.load", load)
    assert not current.refresh(force=True)
    assert current.now is before
    assert current.error == "KeyError: 'no'"
    assert "Traceback" in caplog.text


def test_a_bad_artefact_is_refused_at_the_start(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors"):
        Current(folder)


def test_what_is_made_on_first_use_is_made_before_it_answers(current: Current) -> None:
    made = vars(current.now.recommender._ranking)
    assert {"fold", "touched_by", "shelf"} <= made.keys()
