"""Which tensors is a model of each kind made of, and when do a stranger's tensors make one?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse

from gnas_ext.errors import InputError
from gnas_ext.models.coded import CodedModel
from gnas_ext.models.ease import ItemWeights
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.graph_filter import GraphFilter, Scales
from gnas_ext.models.itemknn import ItemKNN
from gnas_ext.models.popularity import Popularity
from gnas_ext.recommend import _coded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from gnas_ext.evaluate.seen import SeenItems
    from gnas_ext.models.base import Model
    from gnas_ext.recommend._tensors import Tensors
    from gnas_ext.recommend.manifest import TensorSpec

USER_ROWS, USER_SCALE = "user.rows", "user.scale"
ITEM_ROWS, ITEM_SCALE = "item.rows", "item.scale"
PRIOR = "prior"
WEIGHT = "weight"
NUMBERS, SERIES, VECTORS, GAIN = "filter.numbers", "filter.series", "filter.vectors", "filter.gain"
ITEM_WEIGHT = "item.weight"
SIMILAR_INDPTR, SIMILAR_ITEMS, SIMILARITY = "similar.indptr", "similar.items", "similar.weight"
# Each is a step over the whole graph for every list; those that we find have a few dozen.
_LONGEST_SERIES = 1024


@dataclass(frozen=True)
class Kind:
    """How models of one class are written and read.

    Attributes:
        name: what the manifest calls it.
        model: the class.
        needed, optional: names of its tensors.
        tensors: takes a model apart; gets what users have seen, too.
        build: puts checked tensors together; gets what users have seen and the number of items, too.
    """

    name: str
    model: type[Any]
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    tensors: Callable[[Any, SeenItems], dict[str, Tensor]]
    build: Callable[[Tensors, SeenItems, int], Model]


def kind_of(model: Model) -> Kind:
    """The kind of a model; TypeError where it is none of ours."""
    for kind in KINDS.values():
        if isinstance(model, kind.model):
            return kind
    known = ", ".join(kind.model.__name__ for kind in KINDS.values())
    raise TypeError(f"save_artefact: expected a model of the classes {known}, got {type(model).__name__}")


def tensors_of(model: Model, seen: SeenItems) -> dict[str, Tensor]:
    """Every tensor of a model under the name that it has in `model.safetensors`.

    What an ItemKNN, a GraphFilter or ItemWeights know of their users is not among them: it is `seen`.

    Raises:
        InputError: a number that is not finite.
        TypeError, ValueError: no model of ours, or one that does not fit to `seen`.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in kind_of(model).tensors(model, seen).items()}
    for name, tensor in tensors.items():
        if tensor.dtype == torch.int8 and (tensor == -128).any():
            raise ValueError(f"save_artefact: {name}: expected codes in -127 … 127, got -128")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"the model's {name} is not finite: did training diverge? Try a lower learning rate")
    return tensors


def model_of(kind: Kind, found: Tensors, specs: Mapping[str, TensorSpec], seen: SeenItems, n_items: int) -> Model:
    """The model of a kind that tensors make, every number of them checked.

    Args:
        kind: which tensors to expect.
        found: the tensors.
        specs: type and shape of each, as the manifest has them.
        seen: what users have touched; its users are the model's.
        n_items: items of the model.

    Raises:
        InputError: other tensors than the kind has or the manifest says, tensors that do not fit together, codes
            outside -127 … 127, pointers or columns out of range, numbers that are not finite.
    """
    found.check_names(kind.needed, kind.optional)
    found.check_specs(specs)
    return kind.build(found, seen, n_items)


def _factor_tensors(model: FactorModel, seen: SeenItems) -> dict[str, Tensor]:
    named = {
        USER_ROWS: model.user.rows,
        USER_SCALE: model.user.scale,
        ITEM_ROWS: model.item.rows,
        ITEM_SCALE: model.item.scale,
        PRIOR: model.prior,
    }
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def _factors(found: Tensors, seen: SeenItems, n_items: int) -> FactorModel:
    user, item = _table(found, USER_ROWS, USER_SCALE), _table(found, ITEM_ROWS, ITEM_SCALE)
    if user.rows.shape[1] != item.rows.shape[1]:
        widths = f"{user.rows.shape[1]} and {item.rows.shape[1]}"
        raise found.refuse(f"expected user rows as wide as item rows, got {widths}")
    return FactorModel(user, item, found.vector(PRIOR, len(item)) if PRIOR in found else None)


def _table(found: Tensors, rows: str, scale: str) -> Table:
    quantised = found.typed(rows, "float32", "int8").dtype == np.int8
    numbers = found.codes(rows) if quantised else found.floats(rows)
    scales = found.floats(scale) if scale in found else None
    try:
        return Table(numbers, scales)
    except (ValueError, TypeError) as error:
        raise found.refuse(f"{rows}: {error}") from error


def _popularity_tensors(model: Popularity, seen: SeenItems) -> dict[str, Tensor]:
    return {WEIGHT: model.weight}


def _popularity(found: Tensors, seen: SeenItems, n_items: int) -> Popularity:
    return Popularity(found.vector(WEIGHT, n_items), seen.n_users)


def _item_knn_tensors(model: ItemKNN, seen: SeenItems) -> dict[str, Tensor]:
    similarity = model.similarity
    _check_history(model, seen)
    if not similarity.has_canonical_format:
        raise ValueError("save_artefact: expected an ItemKNN whose similarity has sorted columns, none twice")
    return {
        SIMILAR_INDPTR: torch.from_numpy(similarity.indptr),
        SIMILAR_ITEMS: torch.from_numpy(similarity.indices),
        SIMILARITY: torch.from_numpy(similarity.data),
    }


def _item_knn(found: Tensors, seen: SeenItems, n_items: int) -> ItemKNN:
    for name in (SIMILAR_INDPTR, SIMILAR_ITEMS):
        found.typed(name, "int32", "int64")
    indptr, items = found.rows((SIMILAR_INDPTR, SIMILAR_ITEMS), n_items, n_items)
    weight = found.vector(SIMILARITY, len(items)).numpy()
    return ItemKNN(_history(seen, n_items), sparse.csr_array((weight, items, indptr), shape=(n_items, n_items)))


def _filter_tensors(model: GraphFilter, seen: SeenItems) -> dict[str, Tensor]:
    _check_history(model, seen)
    scales = model.scales
    exponents = (scales.user_exponent, scales.item_exponent, scales.exponent, scales.low_exponent)
    numbers = torch.tensor([*exponents, model.constant, model.top])
    return {NUMBERS: numbers, SERIES: model.series, VECTORS: model.vectors, GAIN: model.gain}


def _filter(found: Tensors, seen: SeenItems, n_items: int) -> GraphFilter:
    *exponents, constant, top = found.vector(NUMBERS, 6).tolist()
    series, vectors = found.floats(SERIES), found.floats(VECTORS)
    if series.dim() != 1 or not 0 < len(series) <= _LONGEST_SERIES:
        wanted = f"[degree + 1], {_LONGEST_SERIES} at most"
        raise found.refuse(f"expected {SERIES} of shape {wanted}, got {list(series.shape)}")
    if vectors.dim() != 2 or len(vectors) != n_items:
        raise found.refuse(f"expected {VECTORS} of shape [{n_items}, rank], got {list(vectors.shape)}")
    if not top > 0:
        raise found.refuse(f"{NUMBERS}: expected a largest eigenvalue above 0, got {top}")
    gain = found.vector(GAIN, vectors.shape[1])
    return GraphFilter(_history(seen, n_items), Scales(*exponents), constant, top, series, vectors, gain)


def _item_weight_tensors(model: ItemWeights, seen: SeenItems) -> dict[str, Tensor]:
    _check_history(model, seen)
    return {ITEM_WEIGHT: model.weight}


def _item_weights(found: Tensors, seen: SeenItems, n_items: int) -> ItemWeights:
    weight = found.floats(ITEM_WEIGHT)
    if weight.shape != (n_items, n_items):
        raise found.refuse(f"expected {ITEM_WEIGHT} of shape [{n_items}, {n_items}], got {list(weight.shape)}")
    return ItemWeights(_history(seen, n_items), weight)


def _check_history(model: GraphFilter | ItemKNN | ItemWeights, seen: SeenItems) -> None:
    history = model.history
    if not (np.array_equal(history.indptr, seen.indptr) and np.array_equal(history.indices, seen.items)):
        name = type(model).__name__
        raise ValueError(f"save_artefact: expected {name}.history to be `seen`, both of the same training rows")


def _history(seen: SeenItems, n_items: int) -> sparse.csr_array[np.int8]:
    ones = np.ones(len(seen.items), dtype=np.int8)
    index = sparse.get_index_dtype(maxval=max(len(seen.items), n_items))
    history = (ones, seen.items.astype(index), seen.indptr.astype(index))
    return sparse.csr_array(history, shape=(seen.n_users, n_items))


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "factors",
            FactorModel,
            (USER_ROWS, ITEM_ROWS),
            (USER_SCALE, ITEM_SCALE, PRIOR),
            _factor_tensors,
            _factors,
        ),
        Kind("coded_factors", CodedModel, (), _coded.NAMES, _coded.coded_tensors, _coded.coded_model),
        Kind("popularity", Popularity, (WEIGHT,), (), _popularity_tensors, _popularity),
        Kind("item_knn", ItemKNN, (SIMILAR_INDPTR, SIMILAR_ITEMS, SIMILARITY), (), _item_knn_tensors, _item_knn),
        Kind("graph_filter", GraphFilter, (NUMBERS, SERIES, VECTORS, GAIN), (), _filter_tensors, _filter),
        Kind("item_weights", ItemWeights, (ITEM_WEIGHT,), (), _item_weight_tensors, _item_weights),
    )
}
