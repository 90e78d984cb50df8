"""Do imports run one way, and does importing the ops stay light?"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gnas_ext

PACKAGE = Path(gnas_ext.__file__).parent
# A module may import from its own room and from those before it.
ROOMS = (
    "errors",
    "_C",
    "_native",
    "memory",
    "ops",
    "graph",
    "nn",
    "compat",
    "data",
    "models",
    "train",
    "evaluate",
    "compress",
    "search",
    "recommend",
    "report",
    "serve",
    "cli",
)
# `gnas_ext` itself is the front door; `__main__` starts the command.
DOORS = ("__init__", "__main__")
HEAVY = (
    *("polars", "optuna", "matplotlib", "pandas", "typer", "rich", "scipy", "jinja2", "safetensors"),
    *("ray", "fastapi", "onnx"),
)


def room(module: str) -> str:
    """The first name below gnas_ext, or "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def runtime_imports(tree: ast.AST, package: str) -> set[str]:
    """Modules of gnas_ext that running the code imports, in functions too; not those for type checkers."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, node.module] if node.module else above)
            # `from gnas_ext import ops` names a room as `from gnas_ext.ops import spmm` does.
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "gnas_ext" else {module}
        else:
            found |= runtime_imports(node, package)
    return {name for name in found if name.split(".")[0] == "gnas_ext"}


def sources() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0][:-3] not in DOORS]


def importing(path: Path) -> list[tuple[str, str]]:
    """Pairs of the room of a file and each room that it imports."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    package = ".".join(["gnas_ext", *parts[:-1]])
    names = runtime_imports(ast.parse(path.read_text()), package)
    # CSR stands in the front door's window.
    targets = {"graph" if name == "gnas_ext.CSR" else room(name) for name in names}
    return [(parts[0], target) for target in sorted(targets)]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    for own, other in importing(path):
        assert own in ROOMS, f"gnas_ext.{own} has no place among the rooms: add it to ROOMS"
        assert other in ROOMS, f"{path.relative_to(PACKAGE)} imports gnas_ext.{other}, which is no room"
        allowed = ROOMS.index(other) <= ROOMS.index(own)
        assert allowed, f"{path.relative_to(PACKAGE)} imports gnas_ext.{other}, a room after its own"


def test_the_engine_of_the_search_knows_no_model() -> None:
    assert {other for _, other in importing(PACKAGE / "search" / "engine.py")} <= {"search", "errors"}


def test_a_wrong_import_would_be_found() -> None:
    tree = ast.parse("if TYPE_CHECKING:\n    import gnas_ext.cli\ndef f():\n    from ..search import evolve\n")
    assert runtime_imports(tree, "gnas_ext.ops") == {"gnas_ext.search"}


def test_importing_the_ops_is_light() -> None:
    """Beyond torch, which imports what it finds: only what torch alone does not load counts."""
    code = (
        "import sys, torch; before = set(sys.modules); import gnas_ext.ops; "
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "gnas_ext" in loaded
    assert loaded.isdisjoint(HEAVY), loaded.intersection(HEAVY)


def test_importing_the_ops_loads_few_modules() -> None:
    """Under 150 ms beyond torch: time is no test on a busy machine, but what it is spent on can be counted."""
    code = (
        "import sys, torch, numpy; before = set(sys.modules); import gnas_ext.ops; print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    own = [name for name in loaded if name.split(".")[0] == "gnas_ext"]
    assert len(own) <= 60, own
    assert len(loaded) - len(own) <= 20, sorted(set(loaded) - set(own))


def test_the_ops_need_nothing_but_torch_and_numpy() -> None:
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {HEAVY!r}: raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Refuse())
import torch
from gnas_ext import CSR, ops
x = torch.ones(2, 3, requires_grad=True)
ops.spmm(CSR(torch.tensor([0, 1, 2]), torch.tensor([1, 0])), x).sum().backward()
import gnas_ext
try:
    gnas_ext.read_log
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "gnas_ext.read_log needs polars: pip install 'gnas_ext[search]'"


def test_the_front_door_has_what_it_names() -> None:
    for name in gnas_ext.__all__:
        assert hasattr(gnas_ext, name)
    with pytest.raises(AttributeError, match="module 'gnas_ext' has no attribute 'nothing'"):
        gnas_ext.nothing  # noqa: B018
