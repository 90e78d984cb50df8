"""Among which recommenders is searched? Each choice a space for a log, and the recipes that its search begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from gnas_ext.data.interactions import n_items
from gnas_ext.search.recommender.classic import classic_recipes, classic_space
from gnas_ext.search.recommender.embeddings import embedding_recipes, embedding_space
from gnas_ext.search.recommender.space import recipes, recommender_space
from gnas_ext.search.recommender.training_free import training_free_recipes, training_free_space
from gnas_ext.search.recommender.whole import whole_recipes, whole_space

if TYPE_CHECKING:
    from collections.abc import Callable

    from gnas_ext.data.interactions import Interactions
    from gnas_ext.search.space import SearchSpace

Models: TypeAlias = Literal["graph", "trained", "training-free", "classic", "all"]

_Declare: TypeAlias = "Callable[[Interactions], SearchSpace]"
_Begin: TypeAlias = "Callable[[SearchSpace, Interactions], list[dict[str, Any]]]"

_CHOICES: dict[Models, tuple[_Declare, _Begin]] = {
    "graph": (recommender_space, lambda space, _: recipes(space)),
    "trained": (embedding_space, lambda space, _: embedding_recipes(space)),
    "training-free": (
        lambda train: training_free_space(n_items(train)),
        lambda space, _: training_free_recipes(space),
    ),
    "classic": (classic_space, lambda space, _: classic_recipes(space)),
    "all": (whole_space, whole_recipes),
}


def space_and_recipes(models: Models, train: Interactions) -> tuple[SearchSpace, list[dict[str, Any]]]:
    """The space of a choice for a log, and where its search begins.

    Args:
        models: "graph" for `recommender_space`, small graph models; "trained" for `embedding_space`; "training-free"
            for `training_free_space`; "classic" for `classic_space`; "all" for `whole_space`.
        train: the touches.

    Raises:
        ValueError: there is no such choice.
    """
    if models not in _CHOICES:
        raise ValueError(f"expected models of {', '.join(_CHOICES)}, got {models!r}")
    declare, begin = _CHOICES[models]
    space = declare(train)
    return space, begin(space, train)
