"""Which gene acts where? Genes sorted into the stages that a log passes on its way to a list.

By what their names say, so that a space with other genes is drawn too; what fits nowhere is shown with the training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Genes = Sequence[tuple[str, str]]

# First match wins: prior_half_life belongs to the prior, not to the graph.
_STAGES = (
    ("prior", r"prior|popularity", "item prior"),
    ("training", r"weight_decay|draw|dropout", "training"),
    ("hops", r"transform", "hops"),
    ("quantise", r"bit|quanti[sz]|^columns|^codes$|^recipe|^rare_|^step_\d", "stored rows"),
    ("table", r"dim|width|embedding|init|^start$|free_users", "embedding table"),
    ("combine", r"combin|readout|layer_weight|^restart$", "combination of hops"),
    ("graph", r"alpha|beta|norm|exponent|half_life|decay|loop|edge_weight|^item_(neighbours|share)$", "graph"),
    ("hops", r"hop|layer|residual|propagat|attention", "hops"),
    ("training", r"", "training"),
)
_OFF = ("False", "None", "none", "off", "0", "0.0")


@dataclass(frozen=True)
class Stages:
    """The genes of each stage, as (name, value) pairs of words.

    Attributes:
        graph: how edges are normalised and weighted.
        table: the embedding table.
        hops: propagation, without the number of hops.
        combine: how the hops become one row.
        prior: what an item scores for everybody.
        quantise: how rows are stored.
        training: everything else.
        n_hops: how often rows travel over the graph.
        last_only: whether only the last hop is used.
        has_prior: whether there is a prior.
    """

    graph: Genes
    table: Genes
    hops: Genes
    combine: Genes
    prior: Genes
    quantise: Genes
    training: Genes
    n_hops: int
    last_only: bool
    has_prior: bool


def stages_of(genotype: Mapping[str, object]) -> Stages:
    """Sorts the genes of a genotype into stages."""
    sorted_genes: dict[str, list[tuple[str, str]]] = {name: [] for name, _, _ in _STAGES}
    for gene, value in genotype.items():
        if not _is_hops(gene, value) and gene != "family":
            sorted_genes[_stage(gene)[0]].append((gene, words(value)))
    return Stages(
        **sorted_genes,
        n_hops=max((int(str(value)) for gene, value in genotype.items() if _is_hops(gene, value)), default=0),
        last_only=any(value == "last" for _, value in sorted_genes["combine"]),
        has_prior=bool(sorted_genes["prior"]) and not any(value in _OFF for _, value in sorted_genes["prior"]),
    )


def is_graph(genotype: Mapping[str, object]) -> bool:
    """Whether a genotype says how often rows travel over a graph; others cannot be drawn as one."""
    return any(_is_hops(gene, value) for gene, value in genotype.items())


def acts_in(gene: str) -> str:
    """The stage in which a gene acts, for people."""
    return _stage(gene)[1]


def words(value: object) -> str:
    """A gene's value for people: floats in at most six digits."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _stage(gene: str) -> tuple[str, str]:
    """Name of a gene's stage, and what people call it."""
    return next((name, told) for name, pattern, told in _STAGES if re.search(pattern, gene.lower()))


def _is_hops(gene: str, value: object) -> bool:
    return re.fullmatch(r"(n_|num_)?(hops?|layers?)", gene.lower()) is not None and type(value) is int and value >= 0
