from __future__ import annotations

import math
import random

import pytest

from gnas_ext.compress import Report
from gnas_ext.data.interactions import Step
from gnas_ext.evaluate.compare import ModelResult
from gnas_ext.report import Ancestor, CurvePoint, FinalistRow, GeneShare, ReportData, TrialPoint

TITLES = [
    "Gravity (2013)",
    "Captain Phillips (2013)",
    "Prisoners (2013)",
    "Rush (2013)",
    "Thor: The Dark World (2013)",
    "Fantômas - À l'ombre de la guillotine (1913)",
    "12 Years a Slave (2013)",
    "The Hobbit: The Desolation of Smaug (2013)",
    "Now You See Me (2013)",
    "The Hunger Games: Catching Fire (2013)",
]

GENES = [
    *("dim", "hops", "alpha", "combine", "loss", "dropout", "lr", "negatives", "half_life_days", "prior"),
    *("prior_weight", "prior_half_life_days", "bits"),
]


def make_trials(count: int = 90) -> list[TrialPoint]:
    rng = random.Random(3)
    trials = []
    for number in range(count):
        origin = "random" if number < 20 else rng.choice(["mutation", "crossover"])
        if rng.random() < 0.04:
            trials.append(TrialPoint(number, None, None, origin, "failed"))
            continue
        dim, item_bytes = rng.choice([16, 32, 48, 64, 96, 128]), rng.choice([1, 1, 4])
        gain = 0.03 * (1 - math.exp(-number / 30)) + 0.008 * math.log2(dim / 16)
        ndcg = 0.085 + gain + rng.gauss(0, 0.006)
        trials.append(TrialPoint(number, ndcg, 11_500 * (dim * item_bytes + 4), origin))
    return trials


@pytest.fixture
def report() -> ReportData:
    return make_report()


def make_report() -> ReportData:
    trials = make_trials()
    chosen = max((trial for trial in trials if trial.ndcg is not None), key=lambda trial: trial.ndcg or 0)
    rng = random.Random(4)
    return ReportData(
        title="MovieTweetings 100k",
        comparison=(
            ModelResult("found model", {"recall@20": 0.2214, "ndcg@20": 0.1342}, 412_384, 0.081),
            ModelResult("recent popularity", {"recall@20": 0.2031, "ndcg@20": 0.1250}, 12_400, 0.012),
            ModelResult("popularity", {"recall@20": 0.1502, "ndcg@20": 0.0921}, 12_400, 0.012),
            ModelResult("ItemKNN", {"recall@20": 0.1644, "ndcg@20": 0.0987}, 3_102_000, 0.443),
            ModelResult("LightGCN, float32", {"recall@20": 0.1720, "ndcg@20": 0.1013}, 3_297_280, 0.104),
        ),
        found="found model",
        reference="LightGCN, float32",
        facts={
            "Interactions": "71,394",
            "Users × items": "6,231 × 3,102",
            "Trials": "90 in 6.2 min",
            "Seed": "0",
        },
        steps=(
            Step("read ratings.dat", 100_000, 100_000, "separator '::'"),
            Step("missing values", 100_000, 99_998),
            Step("duplicates", 99_998, 99_871, "the last of each pair is kept"),
            Step("rating >= 6", 99_871, 84_102),
            Step("5-core", 84_102, 71_394, "4 rounds"),
        ),
        guesses=("separator '::'", "user: column 1", "item: column 2", "rating: column 3", "timestamp: column 4"),
        split_method="temporal: last 20% of the time test, 10% before it validation",
        trials=trials,
        finalists=[
            FinalistRow(chosen.number, 0.1834, 0.0021, 3, 41_000),
            FinalistRow(2, 0.1828, 0.0044, 3, 90_500),
        ],
        chosen=chosen.number,
        genotype={
            "dim": 64,
            "hops": 3,
            "alpha": 0.5,
            "combine": "mean",
            "loss": "softmax",
            "dropout": 0.1,
            "lr": 0.005623413,
            "negatives": 64,
            "half_life_days": 30,
            "prior": True,
            "prior_weight": 1.5,
            "prior_half_life_days": 14,
            "bits": 8,
        },
        compression=Report(
            3_297_280,
            412_384,
            {"user.codes": 250_000, "user.codebook": 8192, "item.group": 776, "item.0.codes": 153_416},
            {"user": (3.99,), "item": (4.0, 2.0)},
            {"user": (0.0,), "item": (0.0, 0.25)},
            {"recall@20": 0.2231, "ndcg@20": 0.1351},
            {"recall@20": 0.2214, "ndcg@20": 0.1342},
            0.112,
            0.081,
            (math.nan, *(0.03 * tenth for tenth in range(1, 10))),
            (math.nan, *(0.0299 * tenth for tenth in range(1, 10))),
        ),
        curve=[
            CurvePoint(
                epoch,
                4.2 * math.exp(-epoch / 9) + 1.9 + rng.gauss(0, 0.02),
                0.13 * (1 - math.exp(-epoch / 6)) - 0.00015 * epoch + rng.gauss(0, 0.0007),
            )
            for epoch in range(1, 41)
        ],
        importances=[
            GeneShare(gene, objective, round(0.5 / (1 + (place + shift) % 13), 3), 0.02)
            for objective, shift in (("ndcg", 0), ("bytes", 5))
            for place, gene in enumerate(GENES)
        ],
        fits={"ndcg": 0.72, "bytes": 0.91},
        lineage=(
            Ancestor(4, "random", figures=[("ndcg", 0.0911, None, False), ("bytes", 1_490_000.0, None, False)]),
            Ancestor(
                31,
                "mutation",
                [4],
                [("dim", "64", "16", None), ("prior_half_life_days", None, "14", None)],
                [("ndcg", 0.1203, 0.0292, True), ("bytes", 412_384.0, -1_077_616.0, True)],
            ),
            Ancestor(
                chosen.number,
                "crossover",
                [31, 17],
                [("net", "gcn(0) gat(1) skip(0,1)", "gcn(0) gat(0) skip(2)", 17)],
                [("ndcg", 0.1342, 0.0139, True), ("bytes", 512_384.0, 100_000.0, False)],
            ),
        ),
        recommendations={
            user: [TITLES[(start + 3 * place) % len(TITLES)] for place in range(10)]
            for start, user in enumerate(("1", "417", "9032"))
        },
        command="gnas-ext search ratings.dat --items movies.dat --min-rating 6 --k-core 5 --minutes 8 --seed 0",
        versions={"python": "3.11.7", "gnas_ext": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6", "polars": "2.1.0"},
    )
