"""Which float32 models does `benchmarks.compress` begin with, and who teaches the small ones? All kept in files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file

from benchmarks.recommenders import HOW
from gnas_ext.compress import solve_rows
from gnas_ext.compress.distil import DistilOptions
from gnas_ext.compress.lists import Lists, teach
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.mixture import Mixture
from gnas_ext.search.recommender.build import build

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from gnas_ext.data.interactions import Interactions, Split

BASES = Path(__file__).resolve().parent / "results" / "recommenders" / "figures.json"
# The point of `benchmarks.recommenders` that is the base, and its part that is trained.
POINT, TRAINED = "distilled", "embeddings"
OPTIONS = DistilOptions(batch=512)


class Bases:
    """The best float32 models of one width, and what their teacher says, kept in files.

    A base is trained, and then solved for the lists of its teacher: its mixture with a filter, which is never stored.

    Args:
        cache: where.
        data: the data set.
        split: its parts.
    """

    def __init__(self, cache: Path, data: str, split: Split) -> None:
        self.cache, self.data, self.split = cache, data, split
        known = json.loads(BASES.read_text())[f"{data}/{POINT}"]
        self.genotype: dict[str, Any] = known["genotype"]
        self.parts: dict[str, dict[str, Any]] = known["parts"]
        self._taught: dict[tuple[str, int, int], FactorModel] = {}

    def part(self, which: str) -> Interactions:
        """The touches of "train", or of "all": training and validation."""
        return self.split.train if which == "train" else self.split.train_and_valid

    def __call__(self, which: str, seed: int, floats: int = 64) -> FactorModel:
        """The base of a part, or one of another width that learned the same way from the same teacher."""
        key = which, seed, floats
        if key not in self._taught:
            how = {name: self.genotype[name] for name in HOW if name in self.genotype}
            self._taught[key] = solve_rows(self._trained(which, seed, floats), self.lists(which, seed), **how)
        return self._taught[key]

    def lists(self, which: str, seed: int) -> Lists:
        """What the teacher says of each user."""
        weights = {name: float(self.genotype[name]) for name in self.parts}
        told = "-".join(f"{name}-{weight:g}" for name, weight in sorted(weights.items()))
        path = self.cache / f"{self.data}-{told}-{seed}-{which}-lists.safetensors"
        if not path.exists():
            start = time.perf_counter()
            train = self.part(which)
            models = [
                self._trained(which, seed)
                if name == TRAINED
                else build(part, train, epochs=int(part.get("epochs", 1)), seed=seed).model
                for name, part in self.parts.items()
            ]
            teacher = Mixture(tuple(models), tuple(weights.values()))
            made = teach(teacher, train, OPTIONS.best, OPTIONS.drawn)
            tensors = {"users": made.users, "items": made.items, "scores": made.scores, "log_weight": made.log_weight}
            save(path, tensors)
            print(f"{path.name}: asked in {time.perf_counter() - start:.0f} s", flush=True)
        found = load_file(path)
        return Lists(**found, best=OPTIONS.best)

    def _trained(self, which: str, seed: int, floats: int = 64) -> FactorModel:
        path = self.cache / f"{self.data}-{floats}-{seed}-{which}.safetensors"
        if not path.exists():
            genotype = {**self.parts[TRAINED], "dim": floats}
            start = time.perf_counter()
            model = build(genotype, self.part(which), epochs=int(genotype["epochs"]), seed=seed).model
            assert isinstance(model, FactorModel)
            tensors = {"user": model.user.rows, "item": model.item.rows}
            if model.prior is not None:
                tensors["prior"] = model.prior
            save(path, tensors)
            print(f"{path.name}: trained in {time.perf_counter() - start:.0f} s", flush=True)
        found = load_file(path)
        return FactorModel(Table(found["user"]), Table(found["item"]), found.get("prior"))


def save(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Writes under another name, then renames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_suffix(".tmp")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, waiting)
    waiting.replace(path)
