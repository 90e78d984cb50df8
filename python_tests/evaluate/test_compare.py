from __future__ import annotations

import io
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from rich.console import Console

from gnas_ext.data.interactions import Interactions
from gnas_ext.evaluate import ModelResult, comparison_table, comparison_text, evaluate, measure
from gnas_ext.models import Popularity

RESULTS = [
    ModelResult("Popularity", {"recall@20": 0.17218, "ndcg@20": 0.09159}, 8_136, 0.0131),
    ModelResult("LightGCN", {"recall@20": 0.2, "ndcg@20": 0.25}, 18_134_784, 0.0132),
    ModelResult("found " + "x" * 60, {"recall@20": 0.24171, "ndcg@20": 0.12505}, 1_500_000, 1.5),
]


def printed(bold: bool = False) -> str:
    console = Console(width=80, file=io.StringIO(), force_terminal=bold, color_system="standard" if bold else None)
    console.print(comparison_table(RESULTS))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_text_shows_quality_bytes_and_milliseconds() -> None:
    header, popularity, lightgcn, _ = comparison_text(RESULTS).splitlines()
    assert header.split() == ["Model", "Recall@20", "NDCG@20", "Size", "ms/user"]
    assert popularity.split() == ["Popularity", "0.1722", "0.0916", "8.14", "kB*", "0.013*"]
    assert lightgcn.split() == ["LightGCN", "0.2000", "0.2500*", "18.1", "MB", "0.013*"]


def test_columns_stand_under_each_other() -> None:
    lines = comparison_text(RESULTS).splitlines()
    assert len({line.rindex(".", 0, 55) for line in lines[1:]}) == 1


@pytest.mark.parametrize("k", [5, 20, 100])
def test_text_fits_80_columns(k: int) -> None:
    results = [
        ModelResult("n" * 90, {f"recall@{k}": 0.1, f"ndcg@{k}": 0.1}, 999_499_999, 99.9999),
        ModelResult("m", {f"recall@{k}": 0.1, f"ndcg@{k}": 0.1}, 1, 0.1),
    ]
    assert max(map(len, comparison_text(results, k).splitlines())) <= 80


def test_table_says_what_the_text_says() -> None:
    words = printed().split()
    assert [word for word in words if "─" not in word] == comparison_text(RESULTS).replace("*", "").split()


def test_table_is_bold_where_the_text_has_a_star() -> None:
    bold = re.findall(r"\x1b\[1m *([^ \x1b][^\x1b]*)", printed(bold=True).split("─")[-1])
    starred = re.findall(r"([\d.]+(?: \w?B)?)\*", comparison_text(RESULTS))
    assert [text.strip() for text in bold] == starred


def test_no_results_are_a_header() -> None:
    assert comparison_text([]).split() == ["Model", "Recall@20", "NDCG@20", "Size", "ms/user"]


def test_measure_is_evaluation_and_cost() -> None:
    model = Popularity(torch.arange(6.0), n_users=3)
    train = Interactions(np.array([0, 1], dtype=np.int32), np.array([5, 0], dtype=np.int32))
    target = Interactions(np.array([0, 1], dtype=np.int32), np.array([4, 3], dtype=np.int32))
    result = measure("Popularity", model, train, target, ks=[1, 2])
    assert result.metrics == evaluate(model, train, target, ks=[1, 2])
    assert (result.name, result.size_bytes) == ("Popularity", 24)
    assert result.latency_ms > 0


def test_evaluation_does_not_import_rich() -> None:
    code = "import sys, gnas_ext.evaluate; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
