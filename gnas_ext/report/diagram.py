"""What is an architecture made of, and what goes where? Boxes and arrows, before anybody draws them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gnas_ext.report.stages import Genes

# Source, target, and whether it acts in training only.
Arrow: TypeAlias = tuple[str, str, bool]


@dataclass(frozen=True)
class Part:
    """One box.

    Attributes:
        title: what it is.
        genes: those that act in it, as words.
        notes: what else is written under the title.
        kind: "data", "step", "weights" or "training".
    """

    title: str
    genes: Genes = ()
    notes: tuple[str, ...] = ()
    kind: str = "step"

    @property
    def lines(self) -> list[str]:
        """What is written under the title."""
        return [*self.notes, *(f"{name.replace('_', ' ')} {value}" for name, value in self.genes)]


@dataclass(frozen=True)
class Diagram:
    """Boxes by a short name, each before those that it leads to, and the arrows between them."""

    parts: Mapping[str, Part]
    arrows: tuple[Arrow, ...] = ()

    @property
    def acts_in(self) -> dict[str, str]:
        """Of each gene, the title of the box in which it acts."""
        return {name: part.title for part in self.parts.values() for name, _ in part.genes}


LOG = Part("Interaction log", notes=("who touched what,", "and when"), kind="data")
LIST = Part("Top-K list", notes=("best first,", "seen items left out"), kind="data")
