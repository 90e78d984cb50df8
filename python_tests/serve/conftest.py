from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from python_tests.recommend.conftest import make_sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi.testclient import TestClient

    from gnas_ext.serve import Current


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artefact of two small tables in int8."""
    return make_sample("int8").save(tmp_path / "artefact")


@pytest.fixture
def current(folder: Path) -> Current:
    from gnas_ext.serve import Current

    return Current(folder, rehearsed=False)


@pytest.fixture
def client(current: Current) -> Iterator[TestClient]:
    """The application without a network; mistakes of ours are answered, not raised."""
    from fastapi.testclient import TestClient

    from gnas_ext.serve import make_app

    with TestClient(make_app(current, watch_s=0), raise_server_exceptions=False) as client:
        yield client
