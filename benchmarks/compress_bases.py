"""Which float32 models does `benchmarks.compress` begin with, and who teaches the small ones? All kept in files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file

from gnas_ext.compress.distil import DistilOptions
from gnas_ext.compress.lists import Lists, teach
from gnas_ext.models.factors import FactorModel, Table
from gnas_ext.models.mixture import Mixture
from gnas_ext.search.recommender.build import build
from gnas_ext.search.recommender.training_free import CHEBYCF, GF_CF, build_training_free

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from gnas_ext.data.interactions import Interactions, Split
    from gnas_ext.models.base import Model

BASES = Path(__file__).resolve().parent / "results" / "recommenders" / "figures.json"
OPTIONS = DistilOptions(batch=512)
# A filter that needs no training, and its weight beside the base, both standardised (`models.Mixture`). Other weights
# were not tried, nor was Yelp2018.
FILTERS: Mapping[str, tuple[Mapping[str, Any], float]] = {"gowalla": (CHEBYCF, 1.0), "yelp2018": (GF_CF, 1.0)}
TEACHERS = ("base", "mixture")


class Bases:
    """Trained float32 models, and what teachers say, kept in files.

    Args:
        cache: where.
        data: the data set.
        split: its parts.
    """

    def __init__(self, cache: Path, data: str, split: Split) -> None:
        self.cache, self.data, self.split = cache, data, split
        self.genotype = json.loads(BASES.read_text())[f"{data}/embeddings"]["genotype"]

    def part(self, which: str) -> Interactions:
        """The touches of "train", or of "all": training and validation."""
        return self.split.train if which == "train" else self.split.train_and_valid

    def __call__(self, which: str, seed: int, floats: int = 64) -> FactorModel:
        """The base of a part, or one of another width."""
        path = self.cache / f"{self.data}-{floats}-{seed}-{which}.safetensors"
        if not path.exists():
            genotype = {**self.genotype, "dim": floats}
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

    def lists(self, which: str, seed: int, teacher: str = "base") -> Lists:
        """What a teacher says of each user: the base, or its "mixture" with a filter."""
        told = "lists" if teacher == "base" else f"{teacher}-lists"
        path = self.cache / f"{self.data}-64-{seed}-{which}-{told}.safetensors"
        if not path.exists():
            start = time.perf_counter()
            made = teach(self._teacher(which, seed, teacher), self.part(which), OPTIONS.best, OPTIONS.drawn)
            tensors = {"users": made.users, "items": made.items, "scores": made.scores, "log_weight": made.log_weight}
            save(path, tensors)
            print(f"{path.name}: asked in {time.perf_counter() - start:.0f} s", flush=True)
        found = load_file(path)
        return Lists(**found, best=OPTIONS.best)

    def _teacher(self, which: str, seed: int, teacher: str) -> Model:
        base = self(which, seed)
        if teacher == "base":
            return base
        genotype, weight = FILTERS[self.data]
        return Mixture((base, build_training_free(genotype, self.part(which), seed=seed)), (1.0, weight))


def save(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Writes under another name, then renames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_suffix(".tmp")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, waiting)
    waiting.replace(path)
