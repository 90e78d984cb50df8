from __future__ import annotations

import pytest

from gnas_ext.search import Categorical, Float, Integer, LogFloat, SearchSpace

SPACES = {
    "plain": SearchSpace(
        {"hops": Integer(1, 4), "agg": Categorical(["sum", "mean", "max"]), "lr": LogFloat(1e-4, 1e-1)}
    ),
    "conditional": SearchSpace(
        {
            "family": Categorical(["graph", "factors", "popularity"]),
            "hops": Integer(1, 3, when={"family": ["graph"]}),
            "prior": Categorical([True, False]),
            "decay": Categorical(["none", "exp"], when={"prior": [True]}),
            "days": LogFloat(1, 100, levels=3, when={"prior": [True], "decay": ["exp"]}),
            "dim": Categorical([8, 16], ordered=True, when={"family": ["graph", "factors"]}),
        }
    ),
    "constrained": SearchSpace(
        {"a": Integer(0, 9), "b": Float(0, 1, levels=5), "c": Integer(0, 9)}, valid=lambda g: g["a"] == g["c"]
    ),
    "single": SearchSpace({"only": Categorical(["one"])}),
}


@pytest.fixture(scope="session", params=SPACES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    """Spaces of every kind: plain, conditional (two deep), constrained, and of one genotype."""
    return SPACES[request.param]
