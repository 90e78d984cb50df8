from __future__ import annotations

import ast
from pathlib import Path

import gnas_ext.search

ROOM = Path(gnas_ext.search.__file__).parent
GENERIC = [
    ast.parse(path.read_text())
    for path in [*ROOM.glob("*.py"), *ROOM.glob("insight/*.py")]
    if not path.name.startswith(("recommender", "__"))
]


def imported(nodes: list[ast.AST]) -> set[str]:
    """The modules that import statements among some nodes name; a relative one as its dots."""
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {"." * node.level + (node.module or "") for node in nodes if isinstance(node, ast.ImportFrom)}


def test_the_search_knows_nothing_of_what_it_searches() -> None:
    names = imported([node for tree in GENERIC for node in ast.walk(tree)])
    ours = {name for name in names if name.startswith((".", "gnas_ext"))}
    assert {name for name in ours if not name.startswith("gnas_ext.search.")} == {"gnas_ext.errors"}


def test_optuna_and_polars_are_imported_only_inside_functions() -> None:
    everywhere = imported([node for tree in GENERIC for node in ast.walk(tree)])
    at_once = imported([node for tree in GENERIC for node in tree.body])
    for heavy in ("optuna", "polars"):
        assert heavy in {name.split(".")[0] for name in everywhere}
        assert heavy not in {name.split(".")[0] for name in at_once}
