"""Do the steps of docs/adding-an-op.md lead to an op that works?"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from python_tests.build import kept
from python_tests.build.kept import ROOT

DOCUMENT = ROOT / "docs" / "adding-an-op.md"
FILES = re.compile(r"^`(?P<path>[\w./]+)`\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def run(*command: str | Path, cwd: Path) -> None:
    # This checkout must not be found before the copy.
    kept.run(*command, cwd=cwd, PYTHONPATH=str(cwd))


def written_out(folder: Path) -> list[str]:
    """A copy of the sources with the files of the document; their paths."""
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    for name in ("csrc", "gnas_ext"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("CMakeLists.txt", "pyproject.toml", ".clang-format"):
        shutil.copy(ROOT / name, folder)
    (folder / "python_tests" / "ops").mkdir(parents=True)
    for name in ("__init__.py", "conftest.py", "emulated.py", "graphs.py", "ops/__init__.py"):
        shutil.copy(ROOT / "python_tests" / name, folder / "python_tests" / name)
    files = FILES.findall(DOCUMENT.read_text())
    for name, text in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return [name for name, _ in files]


def built(folder: Path, cuda: str, *what: str) -> None:
    """Builds what a folder holds into its gnas_ext; the other ops are not what is tried here."""
    options = {
        "GNAS_PYTHON": sys.executable,
        "GNAS_OUTPUT": folder / "gnas_ext",
        "GNAS_CUDA": cuda,
        "CMAKE_CXX_COMPILER_LAUNCHER": kept.launcher(folder),
    }
    configure = [f"-D{name}={value}" for name, value in options.items()]
    run("cmake", "-G", "Ninja", "-S", ".", "-B", "built", *configure, cwd=folder)
    run("cmake", "--build", "built", *what, cwd=folder)


@pytest.mark.slow
def test_the_op_of_the_document_works(tmp_path: Path) -> None:
    names = written_out(tmp_path)
    assert {Path(name).suffix for name in names} == {".h", ".cpp", ".cu", ".py"}
    assert not [name for name in names if (ROOT / name).exists()]
    kept.up_to_date("gnas_cpu", "_C")
    built(tmp_path, "off")
    if shutil.which("nvcc"):
        # What is CUDA's of it compiles and links by itself; `make cuda-check` has the other ops.
        alone = tmp_path / "alone"
        new = {Path(name).parts[2] for name in names if name.startswith("csrc/ops/")}
        others = [folder.name for folder in (tmp_path / "csrc" / "ops").iterdir() if folder.name not in new]
        shutil.copytree(tmp_path / "csrc", alone / "csrc", ignore=shutil.ignore_patterns(*others))
        shutil.copy(tmp_path / "CMakeLists.txt", alone)
        built(alone, "stub", "--target", "gnas_cuda")
        assert list((alone / "gnas_ext" / "lib").glob("libgnas_cuda.so"))
    run(sys.executable, "-m", "pytest", "-q", "python_tests/ops/test_scale_rows.py", cwd=tmp_path)
    python, native = ([name for name in names if name.endswith(".py") == wanted] for wanted in (True, False))
    run(sys.executable, "-m", "ruff", "check", *python, cwd=tmp_path)
    run(sys.executable, "-m", "ruff", "format", "--check", *python, cwd=tmp_path)
    run(Path(sys.executable).with_name("clang-format"), "--dry-run", "--Werror", *native, cwd=tmp_path)
