"""Do the recommenders reach their published figures? All of `make bench-recommenders`.

    python -m benchmarks.recommenders --data ../shared/data --points gf-cf,chebycf --sets gowalla

A point is a model family with its candidates. Where there is one candidate its values are published ones; where there
are several, each is built from training and ranked on validation, and the best NDCG@20 is taken. That one is built from
training and validation together and ranked on test, once: full ranking, all test users, training items left out. What
is trained is trained with three seeds, for as many passes as its genotype says, and the mean is reported with its
spread. A mixture is of points that are chosen already; its candidates are its weights. What is distilled is the
embeddings, solved again for the lists of such a mixture (`compress.solve_rows`): as many floats, and no filter.

What is done is kept after each step, candidate by candidate, and not done again; --again forgets a point.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from benchmarks import files
from gnas_ext.compress import solve_rows, teach
from gnas_ext.data.split_files import read_split
from gnas_ext.evaluate import evaluate, human_bytes
from gnas_ext.models.factors import FactorModel
from gnas_ext.models.mixture import Mixture
from gnas_ext.search.recommender.build import build
from gnas_ext.search.recommender.embeddings import MULTINOMIAL, SOFTMAX
from gnas_ext.search.recommender.training_free import (
    CHEBYCF,
    GF_CF,
    RP3BETA,
    SLIM,
    TURBO_CF_LINEAR,
    TURBO_CF_SECOND,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gnas_ext.compress import Lists
    from gnas_ext.data.interactions import Interactions, Split
    from gnas_ext.models.base import Model

    Genotype = Mapping[str, Any]

HERE = Path(__file__).resolve().parent
FOUND = HERE / "results" / "recommenders" / "figures.json"
DOCS = HERE.parent / "docs" / "recommenders.md"
SETS = ("gowalla", "yelp2018")
K = 20


class Point(NamedTuple):
    """A family with what may be chosen from, and what is published of it.

    Attributes:
        label: for the table.
        candidates: genotypes by data set; "" for all others. Those of a mixture name points and the weights of their
            scores: {"family": "mixture", "chebycf": 1.0, "embeddings": 0.5}; those of what is distilled also how.
        published: recall and NDCG by data set.
        seeds: how often it is built and ranked on test.
        only: where the values of an only candidate are from.
    """

    label: str
    candidates: Mapping[str, Sequence[Genotype]]
    published: Mapping[str, tuple[float, float]]
    seeds: int = 1
    only: str = "published values"


def each(genotype: Genotype, **values: Sequence[Any]) -> list[Genotype]:
    """The genotype with every combination of some genes' values."""
    made: list[Genotype] = [genotype]
    for name, options in values.items():
        made = [{**one, name: value} for one in made for value in options]
    return made


KNN = {"family": "item_knn", "neighbours": 100, "shrinkage": 10}
FACTORS = {"family": "matrix_factorization", "dim": 64, "unseen_weight": 0.1, "regularization": 10.0, "bits": 32}
# Of what is distilled: options of `solve_rows`.
HOW = ("rounds", "ridge", "top")
TAUGHT = {"family": "distilled", "embeddings": 1.0}
WIDE = {"family": "mixture", "wide": 1.0, "embeddings": 0.5}
POINTS: Mapping[str, Point] = {
    "gf-cf": Point("GF-CF", {"": [GF_CF]}, {"gowalla": (0.1849, 0.1518), "yelp2018": (0.0697, 0.0571)}),
    "chebycf": Point("ChebyCF", {"": [CHEBYCF]}, {"gowalla": (0.1941, 0.1616)}),
    "turbo-cf": Point("Turbo-CF", {"gowalla": [TURBO_CF_LINEAR], "": [TURBO_CF_SECOND]}, {}),
    "rp3beta": Point(
        "RP3beta",
        {"": each(RP3BETA, alpha=[0.5, 0.8], beta=[0.3, 0.4], neighbours=[50, 100])},
        {"gowalla": (0.183, 0.152), "yelp2018": (0.067, 0.056)},
    ),
    "slim": Point(
        "SLIM, preselected neighbours",
        {"": each(SLIM, l2=[100.0, 1000.0], neighbours=[100])},
        {"gowalla": (0.1699, 0.1382), "yelp2018": (0.0646, 0.0541)},
    ),
    "item-knn": Point(
        "ItemKNN",
        {"": each(KNN, neighbours=[50, 200])},
        {"gowalla": (0.157, 0.1214), "yelp2018": (0.0639, 0.0531)},
    ),
    "ials": Point("iALS, 64 floats", {"": each(FACTORS, regularization=[3.1622776601683795, 10.0])}, {}),
    "embeddings": Point(
        "LightGCN, 64 floats, softmax over all items, prior",
        {"gowalla": each(MULTINOMIAL, temperature=[0.1, 0.12]), "": each(MULTINOMIAL, temperature=[0.12, 0.15])},
        {"gowalla": (0.182, 0.1547), "yelp2018": (0.0653, 0.0532)},
        3,
    ),
    "rows-float32": Point(
        "No hops, 64 floats, sampled softmax, row-wise Adagrad",
        {"": each({**SOFTMAX, "hops": 0, "optimizer": "rowwise_adagrad"}, lr=[0.02, 0.08])},
        {},
    ),
    "rows-int8": Point(
        "The same, of which no copy but int8 is kept",
        {"": each({**SOFTMAX, "hops": 0, "optimizer": "int8_adagrad"}, lr=[0.02, 0.08])},
        {},
    ),
    "mixture": Point(
        "Turbo-CF and the embeddings",
        {
            "": each({"family": "mixture", "embeddings": 1.0}, **{"turbo-cf": [0.5, 1.0]}),
            "yelp2018": [
                *each({"family": "mixture", "embeddings": 1.0}, **{"turbo-cf": [0.125, 0.25, 0.5]}),
                {"family": "mixture", "embeddings": 1.0, "gf-cf": 0.25},
            ],
        },
        {},
        3,
    ),
    "chebycf-mixture": Point(
        "ChebyCF and the embeddings",
        {"": each({"family": "mixture", "embeddings": 1.0}, chebycf=[0.5, 1.0, 2.0])},
        {},
        3,
    ),
    "wide": Point(
        "The embeddings in 256 floats", {"": [{**MULTINOMIAL, "dim": 256}]}, {}, 3, "as 64 floats on gowalla"
    ),
    "wide-mixture": Point(
        "Both embeddings, or the wide ones, and Turbo-CF; ChebyCF on gowalla",
        {
            "gowalla": each(WIDE, chebycf=[0.25, 0.5]),
            "yelp2018": [
                *each({"family": "mixture", "wide": 1.0}, **{"turbo-cf": [0.05, 0.1]}),
                *each(WIDE, **{"turbo-cf": [0.1, 0.2]}),
            ],
        },
        {},
        3,
    ),
    "distilled": Point(
        "The embeddings, taught by a mixture with a filter",
        {
            "": each({**TAUGHT, "chebycf": 0.5}, ridge=[0.3, 1.0], top=[0.0, 0.25]),
            "yelp2018": each(
                {**WIDE, "family": "distilled", "turbo-cf": 0.1}, rounds=[2], ridge=[0.01, 0.03, 0.1], top=[0.25, 0.5]
            ),
        },
        {},
        3,
    ),
    "popularity": Point("popularity", {"": [{"family": "popularity"}]}, {}),
}


def measured(model: Model, train: Interactions, target: Interactions) -> dict[str, Any]:
    """A model ranked: metrics, bytes, and seconds."""
    start = time.perf_counter()
    metrics = evaluate(model, train, target, (K,))
    return {
        "recall": metrics[f"recall@{K}"],
        "ndcg": metrics[f"ndcg@{K}"],
        "bytes": model.size_bytes(),
        "rank_seconds": time.perf_counter() - start,
    }


class Builder:
    """Makes models of genotypes; what is trained, and the parts of mixtures, are kept for the mixtures to come.

    Args:
        data: the data set.
        figures: where the genotype that was chosen of a point is found.
    """

    def __init__(self, data: str, figures: Figures) -> None:
        self.data = data
        self.figures = figures
        self._kept: dict[str, Model] = {}
        self._lists: tuple[str, Lists] | None = None

    def __call__(self, genotype: Genotype, train: Interactions, seed: int = 0, keep: bool = False) -> Model:
        """The model, trained for as many passes as it says."""
        key = f"{sorted(genotype.items())} {seed} {len(train)}"
        if key in self._kept:
            return self._kept[key]
        parts = self.parts(genotype)
        if parts:
            models = {name: self(part, train, seed, keep=True) for name, part in parts.items()}
            mixture = Mixture(tuple(models.values()), tuple(float(genotype[name]) for name in parts))
            return (
                mixture
                if genotype["family"] == "mixture"
                else self._taught(models["embeddings"], mixture, genotype, train)
            )
        model = build(genotype, train, epochs=int(genotype.get("epochs", 1)), seed=seed).model
        if keep or genotype["family"] == "graph_embeddings":
            self._kept[key] = model
        return model

    def _taught(self, student: Model, teacher: Model, genotype: Genotype, train: Interactions) -> Model:
        """A student of a teacher; what the teacher says is kept until another one is asked."""
        assert isinstance(student, FactorModel)
        key = f"{[genotype[name] for name in self.parts(genotype)]} {id(student)} {len(train)}"
        if self._lists is None or self._lists[0] != key:
            self._lists = key, teach(teacher, train)
        how = {name: genotype[name] for name in HOW if name in genotype}
        return solve_rows(student, self._lists[1], **how)

    def parts(self, genotype: Genotype) -> dict[str, Genotype]:
        """What was chosen of each point that a mixture names; nothing for others."""
        made_of_points = genotype["family"] in ("mixture", "distilled")
        names = [name for name in genotype if name not in ("family", *HOW)] if made_of_points else []
        for name in names:
            if not self.figures.has(self.data, name):
                sys.exit(f"a mixture needs {name!r} first: --points {name}")
        return {name: self.figures.of(self.data, name)["genotype"] for name in names}


class Figures:
    """What was found so far: a file that is written anew after each step.

    Args:
        path: of the file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    def of(self, data: str, point: str) -> dict[str, Any]:
        """What is known of a point on a data set; to be filled and kept."""
        return self.all.setdefault(f"{data}/{point}", {"valid": []})

    def has(self, data: str, point: str) -> bool:
        """Whether a point was ranked on test, with all its seeds."""
        return "ndcg" in self.all.get(f"{data}/{point}", {})

    def forget(self, data: str, point: str) -> None:
        """Begins a point anew."""
        self.all.pop(f"{data}/{point}", None)

    def keep(self) -> None:
        """Writes the file."""
        files.write(self.path, json.dumps(self.all, indent=1, sort_keys=True) + "\n")


def run(data: str, name: str, split: Split, figures: Figures, builder: Builder) -> None:
    """Measures what is not known of a point yet."""
    point, known = POINTS[name], figures.of(data, name)
    candidates = [dict(one) for one in point.candidates.get(data, point.candidates.get("", []))]

    def tried(genotype: Genotype, train: Interactions, target: Interactions, seed: int = 0) -> dict[str, Any]:
        parts = builder.parts(genotype)
        for part in parts.values():
            builder(part, train, seed, keep=True)
        start, busy = time.perf_counter(), time.process_time()
        model = builder(genotype, train, seed)
        fitted = time.perf_counter() - start
        return {
            **measured(model, train, target),
            "fit_seconds": fitted,
            "cpu_seconds": time.process_time() - busy,
            **({"parts": parts} if parts else {}),
        }

    def current(entry: Mapping[str, Any]) -> bool:
        """Whether a mixture's parts are still those that are chosen."""
        return bool(entry.get("parts", {}) == builder.parts(entry["genotype"]))

    if len(candidates) > 1:
        known["valid"] = [entry for entry in known["valid"] if current(entry)]
        done = [entry["genotype"] for entry in known["valid"]]
        for genotype in candidates:
            if genotype not in done:
                known["valid"].append({"genotype": genotype, **tried(genotype, split.train, split.valid)})
                figures.keep()
                say(data, name, "valid", genotype, known["valid"][-1])
        entries = [entry for entry in known["valid"] if entry["genotype"] in candidates]
        chosen = max(entries, key=lambda entry: entry["ndcg"])["genotype"]
    else:
        (chosen,) = candidates
    if known.get("genotype") != chosen or not current(known):
        begun = {"valid": known["valid"], "genotype": chosen, "parts": builder.parts(chosen), "seeds": []}
        known.clear()
        known |= begun
    seeds = known.get("seeds", [known])
    for seed in range(len(seeds), point.seeds):
        seeds.append(tried(chosen, split.train_and_valid, split.test, seed))
        figures.keep()
        say(data, name, f"test, seed {seed}", chosen, seeds[-1])
    if "ndcg" not in known:
        known |= {key: mean([one[key] for one in seeds]) for key in seeds[0] if key != "parts"}
        known |= {"threads": torch.get_num_threads(), "date": str(datetime.date.today())}
        figures.keep()
    say(data, name, "test", chosen, known)


def say(data: str, name: str, part: str, genotype: Genotype, found: Mapping[str, Any]) -> None:
    """A line for whoever waits."""
    genes = " ".join(f"{gene}={value}" for gene, value in genotype.items() if gene != "family")
    print(f"{data} {name} {part}: {found['recall']:.4f} / {found['ndcg']:.4f}  {genes}", flush=True)


def table(figures: Figures) -> str:
    """All that is known, as Markdown."""
    lines = [
        "| Data | Model | Recall@20 / NDCG@20 | Published | Chosen on validation | Bytes | Fit + rank, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for data in SETS:
        for name, point in POINTS.items():
            known = figures.all.get(f"{data}/{name}", {})
            if not figures.has(data, name):
                continue
            published = point.published.get(data)
            was = " / ".join(f"{value:.4f}".lstrip("0") for value in published) if published else "–"
            got = " / ".join(
                figure([one[metric] for one in known.get("seeds", [known])]) for metric in ("recall", "ndcg")
            )
            chosen = f"of {len(known['valid'])}" if known["valid"] else point.only
            if len(known["genotype"]) == 1:
                chosen = "–"
            seconds = f"{known['fit_seconds']:.0f} + {known['rank_seconds']:.0f}"
            lines.append(
                f"| {data} | {point.label} | {got} | {was} | {chosen} | {human_bytes(known['bytes'])} | {seconds} |"
            )
    return "\n".join(lines)


def figure(values: Sequence[float]) -> str:
    """The mean, and how far the farthest seed is from it."""
    middle = mean(values)
    short = f"{middle:.4f}".lstrip("0")
    return (
        short
        if len(values) == 1
        else f"{short} ± {max(abs(value - middle) for value in values):.4f}".replace("0.", ".")
    )


def main() -> None:
    """Runs what is asked for and writes the document."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True, help="folder with gowalla/ and yelp2018/")
    arguments.add_argument("--points", default="", help=f"of {', '.join(POINTS)}; all by default")
    arguments.add_argument("--sets", default=",".join(SETS))
    arguments.add_argument("--again", action="store_true", help="measure also what is known")
    arguments.add_argument("--found", type=Path, default=FOUND)
    arguments.add_argument("--docs", type=Path, default=DOCS)
    given = arguments.parse_args()
    names = given.points.split(",") if given.points else list(POINTS)
    unknown = [name for name in names if name not in POINTS]
    if unknown:
        sys.exit(f"--points: unknown {', '.join(unknown)}; there are {', '.join(POINTS)}")
    torch.set_num_threads(min(torch.get_num_threads(), os.cpu_count() or 1))
    figures = Figures(given.found)
    for data in given.sets.split(","):
        folder = given.data / data
        split = read_split(folder / "train.txt", folder / "valid.txt", folder / "test.txt")
        builder = Builder(data, figures)
        for name in names:
            if given.again:
                figures.forget(data, name)
            run(data, name, split, figures, builder)
            files.put_figures(given.docs, table(figures))


if __name__ == "__main__":
    main()
