"""How small does the best 64-float model get, and what is lost? All of `make bench-compress`.

    python -m benchmarks.compress --data ../shared/data --sets gowalla --points 16x --seeds 0

The base is the point `distilled` of `benchmarks.recommenders`, made as there: trained, then taught by a mixture with a
filter. A point is a number of bytes with its candidates: recipes of `gnas_ext.compress`, whose students have the
base's own teacher. Each is applied to the base of training alone and ranked on validation; the best NDCG@20 within the
bytes is taken, applied to the base of training and validation, and ranked on test, once. The choice is made with the
first seed. Beside it stand a float32 model of about as many bytes, trained and taught alike; the largest weights of the
base with a bit for each that says which they are; and the base quantised without training.

Bytes are those of all tensors that the artefact stores for the model. Milliseconds are a user's, of 512 users together
and of one alone, on this machine, of the first seed's models as an artefact serves them: codes but for 8 bits are
decoded once, when it is loaded. --times measures them again, and nothing else, on a machine that does nothing else;
--rows measures rows of a few bits, and no points. What is done is kept after each step and not done again; trained
tables are kept in .cache/compress, which git does not see. --again forgets the figures of a set.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks import compress_bases, files
from benchmarks.compress_bases import OPTIONS, POINT, Bases
from gnas_ext.compress.prune import prune_weights, sparse_bytes
from gnas_ext.compress.recipe import Recipe
from gnas_ext.compress.report import recall_by_popularity
from gnas_ext.compress.steps import Bits, Codes, Columns, Solve
from gnas_ext.data.split_files import read_split
from gnas_ext.evaluate import evaluate, human_bytes
from gnas_ext.evaluate.cost import latency_ms
from gnas_ext.evaluate.evaluate import judged_users
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.models.coded import as_served

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gnas_ext.data.interactions import Interactions, Split
    from gnas_ext.models.base import Model
    from gnas_ext.models.factors import FactorModel

HERE = Path(__file__).resolve().parent
FOUND = HERE / "results" / "compress" / "figures.json"
CACHE = HERE.parent / ".cache" / "compress"
DOCS = HERE.parent / "docs" / "compression.md"
SETS = ("gowalla", "yelp2018")
K = 20
# LightGCN as published, 256 bytes a node (He et al., 2020).
LIGHTGCN = {"gowalla": (0.1820, 0.1547), "yelp2018": (0.0653, 0.0532)}


class Point(NamedTuple):
    """How small, and what may be lost.

    Attributes:
        label: for the table.
        ratio: times smaller than the base, or
        node_bytes: bytes a node at most, of all that is stored.
        may_lose: of Recall@20 and NDCG@20; None where LightGCN's published figures are to be beaten instead.
        floats: width of the float32 model that it is compared with.
        candidates: recipes that validation chooses from.
    """

    label: str
    ratio: float
    node_bytes: float
    may_lose: float | None
    floats: int
    candidates: Sequence[Recipe]


# Of codes that rank as the teacher does: how strongly rows are held, and the weight of the best items. The first two of
# EVEN are those of the bases themselves, on gowalla and on yelp2018.
EVEN = ((1.0, 0.0), (0.01, 0.5), (0.1, 0.0), (0.1, 0.25), (0.3, 0.1), (0.1, 0.5))
GROUPED = ((0.1, 0.25), (0.1, 0.5), (0.3, 0.25), (0.1, 0.7))


def even(size: int, book_bits: int = 16) -> list[Recipe]:
    """Codes of so many bytes a user and an item: the nearest, and those that rank as the teacher does."""
    found = [Codes(size, size, 1, ridge, top, book_bits=book_bits) for ridge, top in EVEN]
    return [Recipe((codes,)) for codes in (Codes(size, size, book_bits=book_bits), *found)]


def grouped(*sizes: tuple[int, int, int], solves: int = 1) -> list[Recipe]:
    """The latter with so many bytes a user, a popular item (the quarter that is touched most), and a rare one."""
    return [
        Recipe((Codes(user, popular, solves, ridge, top, rare_share=0.75, rare_bytes=rare, book_bits=8),))
        for user, popular, rare in sizes
        for ridge, top in GROUPED
    ]


# The sizes are those that lost least on validation users: the first of each on Gowalla's, the second on Yelp2018's
# (docs/compression.md). What a second and a third round win is little, so few have them.
TWELVE = ((24, 32, 12), (22, 38, 12), (23, 32, 12))
SIXTEEN = ((17, 25, 9), (17, 27, 8), (18, 25, 8))
POINTS: Mapping[str, Point] = {
    "3.9x": Point("≥ 3.9×", 3.9, 0, 0.002, 16, [*even(64), Recipe((Columns(59), Solve(1, 1.0, 0.0), Bits(8)))]),
    "8x": Point("≥ 8×", 8, 0, 0.01, 8, [*even(30), *even(31, 8)]),
    "12x": Point("≥ 12×", 12, 0, 0.01, 4, [*grouped(*TWELVE), *grouped(*TWELVE[:2], solves=3)]),
    "16x": Point("≥ 16×", 16, 0, 0.03, 4, [*grouped(*SIXTEEN), *grouped(*SIXTEEN[:2], solves=3)]),
    "32-bytes": Point("32 bytes a node", 0, 32, None, 8, even(30)),
}


class Figures:
    """What was found so far, by data set, point and step: a file that is written anew after each step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all = self._there()

    def once(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is known under a key, or what is made now, kept."""
        if key not in self.all:
            self.all = self._there()
        if key not in self.all:
            self.put(key, {**make(), "date": str(datetime.date.today())})
        found = self.all[key]
        print(f"{key}: {found['recall']:.4f} / {found['ndcg']:.4f}, {human_bytes(found['bytes'])}", flush=True)
        return dict(found)

    def put(self, key: str, value: Any) -> None:
        """Adds to the file, to what other runs have put there meanwhile."""
        self.all = {**self._there(), key: value}
        self._write()

    def _there(self) -> dict[str, Any]:
        return dict(json.loads(self.path.read_text())) if self.path.exists() else {}

    def _write(self) -> None:
        files.write(self.path, json.dumps(self.all, indent=1, sort_keys=True) + "\n")

    def forget(self, begin: str) -> None:
        """Drops all whose key begins so."""
        self.all = {key: value for key, value in self.all.items() if not key.startswith(begin)}
        self._write()


def ranked(model: Model, train: Interactions, target: Interactions) -> dict[str, Any]:
    """Recall, NDCG and bytes."""
    metrics = evaluate(model, train, target, (K,))
    return {"recall": metrics[f"recall@{K}"], "ndcg": metrics[f"ndcg@{K}"], "bytes": model.size_bytes()}


def tested(model: Model, split: Split) -> dict[str, Any]:
    """Everything that the table says of a model on test."""
    train, test = split.train_and_valid, split.test
    return {**ranked(model, train, test), "deciles": recall_by_popularity(model, train, test, K)}


def timed(model: Model, split: Split) -> dict[str, float]:
    """Milliseconds a user, of 512 users together and of one alone, as an artefact serves the model."""
    train, served = split.train_and_valid, as_served(model)
    seen = SeenItems.from_interactions(train, model.n_users)
    users = judged_users(model.n_users, train, split.test)[:512].astype(np.int32)
    return {"together": latency_ms(served, users, K, seen, 9), "alone": latency_ms(served, users[:1], K, seen, 31)}


def most_bytes(point: Point, base: FactorModel) -> int:
    """Bytes that a point allows."""
    if point.node_bytes:
        return int(point.node_bytes * (base.n_users + base.n_items))
    return int(base.size_bytes() / point.ratio)


def run(data: str, name: str, bases: Bases, figures: Figures, seeds: Sequence[int]) -> None:
    """Measures what is not known of a point yet."""
    point, split = POINTS[name], bases.split
    limit = most_bytes(point, bases("all", seeds[0]))

    def cooked(recipe: Recipe, which: str, seed: int) -> Model:
        lists = bases.lists(which, seed) if recipe.teaches else None
        return recipe.apply(bases(which, seed), bases.part(which), options=OPTIONS, lists=lists)

    def on_valid(recipe: Recipe) -> dict[str, Any]:
        return ranked(cooked(recipe, "train", seeds[0]), split.train, split.valid)

    def on_test(recipe: Recipe, seed: int) -> dict[str, Any]:
        return tested(cooked(recipe, "all", seed), split)

    def largest(seed: int) -> dict[str, Any]:
        base = bases("all", seed)
        pruned = prune_weights(base, largest_share(base, limit))
        return {**tested(pruned, split), "bytes": sparse_bytes(pruned)}

    valid = {one: figures.once(f"{data}/valid/{one}", partial(on_valid, one)) for one in point.candidates}
    fitting = {one: found for one, found in valid.items() if found["bytes"] <= limit}
    if not fitting:
        sys.exit(f"{data} {name}: no candidate has at most {limit:,} bytes")
    chosen = max(fitting, key=lambda one: fitting[one]["ndcg"])
    figures.put(f"{data}/chosen/{name}", str(chosen))
    for seed in seeds:
        figures.once(f"{data}/base/{seed}", partial(on_test, Recipe(()), seed))
        for one in dict.fromkeys([chosen, untrained(chosen)]):
            figures.once(f"{data}/test/{one}/{seed}", partial(on_test, one, seed))
        figures.once(f"{data}/magnitude/{name}/{seed}", partial(largest, seed))
        rows(data, bases, figures, seed)


def rows(data: str, bases: Bases, figures: Figures, seed: int) -> None:
    """Measures rows of a few bits, the nearest codes and calibrated ones: what a point is to be better than."""
    for kind, calibrated in (("rows", False), ("calibrated", True)):
        for bits in (8, 4, 2):
            if f"{data}/{kind}/{bits}/{seed}" not in figures.all:
                small = Recipe((Bits(bits, calibrated=calibrated),)).apply(bases("all", seed), bases.part("all"))
                figures.once(f"{data}/{kind}/{bits}/{seed}", partial(tested, small, bases.split))


def time_chosen(
    data: str, names: Sequence[str], bases: Bases, figures: Figures, seed: int, again: bool = False
) -> None:
    """Milliseconds before and after: of the base, and of what was chosen of each point."""
    chosen = [figures.all[key] for name in names if (key := f"{data}/chosen/{name}") in figures.all]
    for recipe in (Recipe(()), *map(Recipe.parse, dict.fromkeys(chosen))):
        key = f"{data}/ms/{recipe}"
        if key in figures.all and not again:
            continue
        lists = bases.lists("all", seed) if recipe.teaches else None
        model = recipe.apply(bases("all", seed), bases.part("all"), options=OPTIONS, lists=lists)
        found = timed(model, bases.split)
        figures.put(key, {**found, "date": str(datetime.date.today())})
        print(f"{key}: {found['together']:.4f} of 512, {found['alone']:.2f} alone", flush=True)


def compare(data: str, name: str, bases: Bases, figures: Figures, seeds: Sequence[int]) -> None:
    """Trains the float32 models of about as many bytes."""
    floats = POINTS[name].floats

    def narrow(seed: int) -> dict[str, Any]:
        return tested(bases("all", seed, floats), bases.split)

    for seed in seeds:
        figures.once(f"{data}/floats/{floats}/{seed}", partial(narrow, seed))


def untrained(recipe: Recipe) -> Recipe:
    """The nearest codes where a recipe has better ones: of one size, about as many bytes in all."""
    return Recipe(
        tuple(
            Codes(step.user_bytes, int(step.item_bytes + step.rare_share * (step.rare_bytes - step.item_bytes)))
            if isinstance(step, Codes)
            else step
            for step in recipe.steps
        )
    )


def largest_share(base: FactorModel, limit: int) -> float:
    """Share of weights that fits, with a bit for each that says whether it is there, and the prior."""
    entries = base.user.rows.numel() + base.item.rows.numel()
    left = limit - entries / 8 - (0 if base.prior is None else base.prior.nbytes)
    return max(0.0, min(1.0, left / 4 / entries - 1e-6))


def table(figures: Figures) -> str:
    """All that is known, as Markdown."""
    lines = [
        "| Data | Asked | Model | Bytes | Smaller | Recall@20 | NDCG@20 | Lost | ms a user: of 512, alone |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    deciles = []
    for data in SETS:
        base = seeds_of(figures, f"{data}/base/")
        if not base:
            continue
        lines.append(row(data, "", "64 float32, the base", base, base, figures.all.get(f"{data}/ms/{Recipe(())}")))
        for name, point in POINTS.items():
            if f"{data}/chosen/{name}" not in figures.all:
                continue
            chosen = Recipe.parse(figures.all[f"{data}/chosen/{name}"])
            found = seeds_of(figures, f"{data}/test/{chosen}/")
            if not found:
                continue
            wanted = (
                f"{LIGHTGCN[data][0]:.4f} / {LIGHTGCN[data][1]:.4f}"
                if point.may_lose is None
                else f"≤ {point.may_lose:.1%}"
            )
            times = figures.all.get(f"{data}/ms/{chosen}")
            lines.append(row(data, f"{point.label}, {wanted}", f"**{words(chosen)}**", found, base, times))
            if untrained(chosen) != chosen:
                plain = seeds_of(figures, f"{data}/test/{untrained(chosen)}/")
                lines.append(row("", "", "without training", plain, base))
            for label, prefix in (
                (f"{point.floats} float32, trained and taught alike", f"{data}/floats/{point.floats}/"),
                ("largest weights", f"{data}/magnitude/{name}/"),
            ):
                lines.append(row("", "", label, seeds_of(figures, prefix), base))
            deciles.append(f"| {data} | {point.label} | " + " | ".join(changes(found, base)) + " |")
        lines += [
            row(
                data,
                "",
                f"rows of {bits} bits, a scale a row, {told}",
                seeds_of(figures, f"{data}/{kind}/{bits}/"),
                base,
            )
            for bits in (8, 4, 2)
            for kind, told in (("rows", "without training"), ("calibrated", "calibrated without training"))
        ]
    head = "| Data | Asked | " + " | ".join(str(place) for place in range(1, 11)) + " |"
    return "\n".join(
        [
            *[line for line in lines if line],
            "",
            "Recall@20 of the held-out pairs by popularity decile of their items, 1 the least touched: before → after.",
            "",
            head,
            "|---|---|" + "---:|" * 10,
            *deciles,
        ]
    )


def seeds_of(figures: Figures, prefix: str) -> list[dict[str, Any]]:
    """What is known of each seed."""
    return [value for key, value in sorted(figures.all.items()) if key.startswith(prefix)]


def row(
    data: str,
    asked: str,
    model: str,
    found: Sequence[Mapping[str, Any]],
    base: Sequence[Mapping[str, Any]],
    times: Mapping[str, float] | None = None,
) -> str:
    """A line of the table; "" where nothing is known."""
    if not found:
        return ""
    of = {key: mean(float(one[key]) for one in found) for key in ("recall", "ndcg", "bytes")}
    told = "" if times is None else f"{times['together']:.3f}, {times['alone']:.2f}"
    before = {key: mean(float(one[key]) for one in base[: len(found)]) for key in ("recall", "ndcg", "bytes")}
    lost = " / ".join(f"{100 * (of[key] / before[key] - 1):+.2f}%" for key in ("recall", "ndcg"))
    middle = f"{of['recall']:.4f} | {of['ndcg']:.4f}"
    return (
        f"| {data} | {asked} | {model} | {human_bytes(round(of['bytes']))} | {before['bytes'] / of['bytes']:.2f}× | "
        f"{middle} | {lost if found is not base else '–'} | {told} |"
    )


def changes(found: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]]) -> list[str]:
    """Before and after in each decile."""
    both = (
        [mean(one["deciles"][place] for one in some) for place in range(10)] for some in (base[: len(found)], found)
    )
    return [f"{was:.3f} → {now:.3f}" for was, now in zip(*both, strict=True)]


def words(recipe: Recipe) -> str:
    """A recipe for people."""
    said = [
        f"{step.user_bytes} and {step.item_bytes} bytes a user and item, "
        + (f"{step.rare_bytes} for the rarest {step.rare_share:.0%}, " if step.rare_share else "")
        + {None: "nearest", 1: "refitted"}.get(step.solves, f"refitted in {step.solves} rounds")
        if isinstance(step, Codes)
        else str(Recipe((step,)))
        for step in recipe.steps
    ]
    return ", then ".join(said)


def main() -> None:
    """Runs what is asked for and writes the document."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True, help="folder with gowalla/ and yelp2018/")
    arguments.add_argument("--points", default="", help=f"of {', '.join(POINTS)}; all by default")
    arguments.add_argument("--sets", default=",".join(SETS))
    arguments.add_argument("--seeds", default="0,1,2")
    arguments.add_argument("--again", action="store_true", help="measure also what is known")
    arguments.add_argument("--times", action="store_true", help="measure milliseconds of what was chosen, and no more")
    arguments.add_argument("--rows", action="store_true", help="measure rows of a few bits, and no more")
    arguments.add_argument("--found", type=Path, default=FOUND)
    arguments.add_argument("--cache", type=Path, default=CACHE)
    arguments.add_argument("--docs", type=Path, default=DOCS)
    given = arguments.parse_args()
    names = given.points.split(",") if given.points else list(POINTS)
    unknown = [name for name in names if name not in POINTS]
    if unknown:
        sys.exit(f"--points: unknown {', '.join(unknown)}; there are {', '.join(POINTS)}")
    missing = [
        data
        for data in given.sets.split(",")
        if "genotype" not in json.loads(compress_bases.BASES.read_text()).get(f"{data}/{POINT}", {})
    ]
    if missing:
        sys.exit(f"--sets: no base is known for {', '.join(missing)}; run make bench-recommenders POINTS={POINT} first")
    seeds = [int(seed) for seed in given.seeds.split(",")]
    figures = Figures(given.found)
    for data in given.sets.split(","):
        if given.again and not given.times:
            for begin in (f"{data}/rows/", f"{data}/calibrated/") if given.rows else (f"{data}/",):
                figures.forget(begin)
        folder = given.data / data
        split = read_split(folder / "train.txt", folder / "valid.txt", folder / "test.txt")
        bases = Bases(given.cache, data, split)
        if given.times:
            time_chosen(data, names, bases, figures, seeds[0], again=True)
            files.put_figures(given.docs, table(figures))
            continue
        if given.rows:
            for seed in seeds:
                rows(data, bases, figures, seed)
            files.put_figures(given.docs, table(figures))
            continue
        for name in names:
            run(data, name, bases, figures, seeds)
            files.put_figures(given.docs, table(figures))
        time_chosen(data, names, bases, figures, seeds[0])
        for name in names:
            compare(data, name, bases, figures, seeds)
            files.put_figures(given.docs, table(figures))


if __name__ == "__main__":
    main()
