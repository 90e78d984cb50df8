"""What did compression do? Bytes a tensor, bits a degree group, what is pruned, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gnas_ext.evaluate.evaluate import judged_users
from gnas_ext.evaluate.metrics import find_hits
from gnas_ext.evaluate.rank import top_k
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.models.coded import CodedModel, GroupedTable, PackedTable, ProductTable, Rows
from gnas_ext.models.factors import FactorModel, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from gnas_ext.compress.distil import Student
    from gnas_ext.data.interactions import Interactions
    from gnas_ext.models.base import Model

DECILES = 10


@dataclass(frozen=True)
class Report:
    """A model before and after.

    Attributes:
        bytes_before, bytes_after: of all that is stored.
        tensors: bytes of each tensor after, by its name.
        bits: bits an original number in each degree group of each side, the most popular rows first: codes, scales and
            zeros of a row over the numbers that it had. Codebooks, groups and the prior are in `tensors` alone.
        pruned: share of the original columns that is gone for each degree group of each side.
        metrics_before, metrics_after: where they were measured: "ndcg@20" and so on.
        latency_before, latency_after: milliseconds a user (`evaluate.latency_ms`); None where they were not measured.
        deciles_before, deciles_after: of `recall_by_popularity`; empty where they were not measured.
        folded: share of the rows of each side that share one (`steps.Fold`).
    """

    bytes_before: int
    bytes_after: int
    tensors: Mapping[str, int]
    bits: Mapping[str, tuple[float, ...]]
    pruned: Mapping[str, tuple[float, ...]]
    metrics_before: Mapping[str, float]
    metrics_after: Mapping[str, float]
    latency_before: float | None = None
    latency_after: float | None = None
    deciles_before: Sequence[float] = ()
    deciles_after: Sequence[float] = ()
    folded: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many times smaller."""
        return self.bytes_before / max(1, self.bytes_after)

    @property
    def told(self) -> str:
        """How many times smaller, or larger: what rows share, such as codebooks, outweighs a very small log."""
        return f"{self.ratio:.1f} times smaller" if self.ratio >= 1 else f"{1 / self.ratio:.1f} times larger"

    def lost(self) -> dict[str, float]:
        """Relative change of each metric, below 0 where it became worse."""
        return {
            name: self.metrics_after[name] / before - 1
            for name, before in self.metrics_before.items()
            if before and name in self.metrics_after
        }

    def lines(self) -> list[str]:
        """For the terminal and for a page."""
        found = [f"{self.bytes_before:,} bytes before, {self.bytes_after:,} after: {self.ratio:.2f} times smaller"]
        found += [f"{name}: {size:,} bytes" for name, size in self.tensors.items()]
        return found + self.row_lines() + self.cost_lines() + self.decile_lines()

    def row_lines(self) -> list[str]:
        """What is left of the rows: bits a number, and columns."""
        found = []
        for side, bits in self.bits.items():
            words = ", ".join(f"{some:.2f}" for some in bits)
            found.append(
                f"{side}: {words} bits a number, popular rows first"
                if len(bits) > 1
                else f"{side}: {words} bits a number"
            )
        for side, shares in self.pruned.items():
            if any(shares):
                found.append(f"{side}: {', '.join(f'{share:.0%}' for share in shares)} of the columns are gone")
        found += [f"{side}: {share:.0%} of the rows share one" for side, share in self.folded.items() if share]
        return found

    def decile_lines(self) -> list[str]:
        """Recall by popularity, the least touched items first; none where it was not measured."""
        if not self.deciles_before or not self.deciles_after:
            return []
        rows = (("before", self.deciles_before), ("after", self.deciles_after))
        told = [f"  {name:<6} " + " ".join(f"{share:.3f}" for share in shares) for name, shares in rows]
        return ["recall by tenth of the items, rare ones first:", *told]

    def cost_lines(self) -> list[str]:
        """What it cost, and what it gained in time."""
        found = [
            f"{name}: {self.metrics_before[name]:.4f} before, {self.metrics_after[name]:.4f} after ({change:+.2%})"
            for name, change in self.lost().items()
        ]
        if self.latency_before is not None and self.latency_after is not None:
            saved = "" if self.latency_after < self.latency_before else "; no time is saved"
            found.append(f"ms a user: {self.latency_before:.3f} before, {self.latency_after:.3f} after{saved}")
        return found


def report(
    before: FactorModel,
    after: Student,
    metrics_before: Mapping[str, float] | None = None,
    metrics_after: Mapping[str, float] | None = None,
) -> Report:
    """Looks at a model before and after its compression.

    Args:
        before: float32 or int8.
        after: what a recipe made of it.
        metrics_before: of `evaluate` on validation; none where they were not measured.
        metrics_after: and those after it.
    """
    width = before.user.width
    tables: dict[str, Rows] = {"user": after.user, "item": after.item}
    tensors: dict[str, int] = {}
    for side, table in tables.items():
        tensors |= _bytes(side, table)
    if isinstance(after, CodedModel):
        tensors |= {} if after.prior is None else _bytes("prior", after.prior)
    elif after.prior is not None:
        tensors["prior"] = after.prior.nbytes
    return Report(
        before.size_bytes(),
        after.size_bytes(),
        tensors,
        {side: tuple(8 * size / width for size in _row_bytes(table)) for side, table in tables.items()},
        {side: tuple(1 - part.width / width for part in _parts(table)) for side, table in tables.items()},
        dict(metrics_before or {}),
        dict(metrics_after or {}),
        folded={side: _folded(table) for side, table in tables.items()},
    )


def recall_by_popularity(model: Model, train: Interactions, target: Interactions, k: int = 20) -> list[float]:
    """Recall at k of the held-out pairs in each popularity decile of the items, the least touched first.

    Items are put in the order of their touches in training, equal ones by code, and cut into ten parts of (nearly) as
    many items. Of the held-out pairs of the judged users whose item is in a part: the share that is in the user's list.
    NaN where a part has none; items that the model does not know are in no part.
    """
    users = judged_users(model.n_users, train, target)
    seen = SeenItems.from_interactions(train, model.n_users)
    held_out = SeenItems.from_interactions(target, model.n_users).select(users)
    ranked = top_k(model, users, k, seen)
    at = find_hits(ranked, held_out).at
    touches = np.bincount(seen.items, minlength=model.n_items)[: model.n_items]
    decile = np.empty(model.n_items, dtype=np.int64)
    decile[np.argsort(touches, kind="stable")] = np.arange(model.n_items) * DECILES // max(1, model.n_items)
    known = held_out.items[held_out.items < model.n_items]
    there = np.bincount(decile[known], minlength=DECILES)
    hit = np.bincount(decile[ranked[at]], minlength=DECILES)
    return [float(one / all_) if all_ else float("nan") for one, all_ in zip(hit, there, strict=True)]


def _parts(table: Rows) -> tuple[Rows, ...]:
    return table.tables if isinstance(table, GroupedTable) else (table,)


def _tensors(table: Rows) -> dict[str, Tensor | None]:
    """What a table that is no group is made of; those with as many rows as it has first."""
    if isinstance(table, ProductTable):
        return {"codes": table.codes, "codebook": table.codebook, "codebook_scale": table.codebook_scale}
    if isinstance(table, PackedTable):
        return {"codes": table.rows.codes, "scale": table.rows.scale, "zero": table.rows.zero}
    if isinstance(table, Table):
        return {"rows": table.rows, "scale": table.scale}
    raise TypeError(f"report: expected a table of ours, got {type(table).__name__}")


def _bytes(name: str, table: Rows) -> dict[str, int]:
    if isinstance(table, GroupedTable):
        found = {f"{name}.group": table.group.nbytes}
        for number, part in enumerate(table.tables):
            found |= _bytes(f"{name}.{number}", part)
        return found
    found = {f"{name}.{part}": tensor.nbytes for part, tensor in _tensors(table).items() if tensor is not None}
    rest = table.size_bytes() - sum(found.values())
    return {**found, f"{name}.layout": rest} if rest else found


def _row_bytes(table: Rows) -> list[float]:
    """Bytes of a row in each part, without what all rows share; one row that a group shares is divided among it."""
    found = []
    for part, rows in zip(_parts(table), _members(table), strict=True):
        own = [tensor for name, tensor in _tensors(part).items() if not name.startswith("codebook")]
        found.append(sum(tensor.nbytes for tensor in own if tensor is not None) / max(1, rows))
    return found


def _members(table: Rows) -> list[int]:
    """Rows that each part stands for."""
    if not isinstance(table, GroupedTable):
        return [len(table)]
    return list(map(int, np.bincount(table.groups().numpy(), minlength=len(table.tables))))


def _folded(table: Rows) -> float:
    """Share of the rows that have none of their own."""
    shared = sum(rows for part, rows in zip(_parts(table), _members(table), strict=True) if len(part) < rows)
    return shared / max(1, len(table))
