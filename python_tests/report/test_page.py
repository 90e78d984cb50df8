from __future__ import annotations

import errno
import math
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from gnas_ext.data.interactions import Step
from gnas_ext.errors import InputError
from gnas_ext.evaluate.compare import ModelResult
from gnas_ext.report import Ancestor, CurvePoint, GeneShare, ReportData, TrialPoint, write_report
from gnas_ext.report.page import render
from gnas_ext.report.styles import styles

from .conftest import make_report

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ReportData(title="t", comparison=[ModelResult("m", {}, 1, 0.1)], found="m")
SECTIONS = [
    *("comparison", "search", "finals", "genes", "lineage", "architecture"),
    *("compression", "training", "recommendations", "data", "reproduce"),
]


class Page(HTMLParser):
    """What a test asks about a page: elements with attributes, text by table row, and whether all tags are closed."""

    VOID = ("meta", "link", "br", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data
        if self.rows and ("td" in self.open or "th" in self.open):
            self.rows[-1][-1] += " ".join(data.split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]


@pytest.fixture(scope="module")
def text() -> str:
    return render(make_report())


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_every_tag_is_closed(page: Page) -> None:
    assert page.open == []


def test_all_sections_are_there(page: Page) -> None:
    assert [section["id"] for section in page.all("section")] == SECTIONS


def test_it_begins_as_html(text: str) -> None:
    assert text.startswith("<!DOCTYPE html>")


def test_what_is_empty_has_no_section() -> None:
    assert [section["id"] for section in Page(render(SMALL)).all("section")] == ["comparison"]


def test_nothing_is_loaded_and_nothing_runs(page: Page) -> None:
    assert not {tag for tag, _ in page.elements} & {"script", "img", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "data", "action"):
                assert (value or "").startswith(("#", "data:,")), (tag, name, value)
            assert not name.startswith("on")
    css = styles()
    assert "@import" not in css
    assert "url(" not in css


def test_the_comparison_shows_each_model_and_marks_the_found_one(page: Page) -> None:
    assert ["found modelfound", "0.2214", "0.1342", "412 kB", "0.081"] in page.rows
    assert ["recent popularity", "0.2031", "0.1250", "12.4 kB", "0.012"] in page.rows
    # And the chosen one among the finalists.
    assert [row.get("class") for row in page.all("tr")].count("found") == 2


def test_figures_that_are_not_known_are_dashes() -> None:
    unknown = ModelResult("m", {"ndcg@20": math.nan}, 5, math.nan)
    assert ["mfound", "–", "–", "5 B", "–"] in Page(render(ReportData(title="t", comparison=[unknown], found="m"))).rows


def test_the_headline_says_when_it_was_not_beaten() -> None:
    losing = replace(SMALL, comparison=make_report().comparison, found="popularity")
    text = render(losing)
    assert "The found model does not beat the best baseline" in text
    assert 'class="verdict bad"' in text


def test_a_better_model_that_is_not_smaller_is_not_shown_as_a_success() -> None:
    larger = [ModelResult("m", {"ndcg@20": 0.2}, 9, 0.1), ModelResult("base", {"ndcg@20": 0.1}, 8, 0.1)]
    assert 'class="verdict bad"' in render(ReportData(title="t", comparison=larger, found="m", reference="base"))


def test_cleaning_steps_show_what_they_cost(page: Page) -> None:
    assert ["5-core4 rounds", "84,102", "71,394", "12,708"] in page.rows


def test_gene_shares_have_their_spread_and_say_how_far_to_trust_them(page: Page) -> None:
    assert ["dim", "0.50± 0.02", "0.08± 0.02"] in page.rows
    assert "its rank correlation is 0.72 for NDCG@20, 0.91 for Size." in page.words
    assert "the shares say little" not in page.words
    assert "1 more gene has 0.06 or less." in " ".join(page.words.split())


def test_shares_of_models_that_know_nothing_are_doubted() -> None:
    doubtful = replace(SMALL, importances=[GeneShare("dim", "ndcg", 0.9, 0.3)], fits={"ndcg": 0.1})
    assert (
        "its rank correlation is 0.10 for NDCG@20. Where it is low, the shares say little."
        in Page(render(doubtful)).words
    )


def test_the_line_of_the_chosen_trial_says_what_changed_and_what_it_brought(page: Page) -> None:
    words = " ".join(page.words.split())
    assert "Trial 4 random NDCG@20 0.0911Size 1.49 MB" in words
    assert (
        "Trial 31 mutation of 4 dim 64 → 16 prior_half_life_days – → 14 NDCG@20 0.1203 +0.0292Size 412 kB −72%" in words
    )
    assert "crossover of 31 and 17 chosen net gcn(0) gat(1) skip(0,1) → gcn(0) gat(0) skip(2) from trial 17" in words
    assert [span.get("class") for span in page.all("span")].count("worse") == 1


def test_finalists_have_their_spread_and_the_chosen_one_is_marked(page: Page) -> None:
    report = make_report()
    rows = [row for row in page.rows if len(row) == 4 and row[2].startswith("0.00")]
    assert rows == [
        [f"{report.chosen}chosen", "0.1834", "0.0021", "41.0 kB"],
        ["2", "0.1828", "0.0044", "90.5 kB"],
    ]


def test_genes_of_a_family_act_in_its_boxes() -> None:
    rows = Page(render(replace(SMALL, genotype={"family": "ease", "l2": 3.0}))).rows
    assert ["family", "ease", "everything"] in rows
    assert ["l2", "3", "ridge regression"] in rows


def test_genes_stand_in_the_table(page: Page) -> None:
    assert ["lr", "0.00562341", "training"] in page.rows


def test_trials_are_counted_by_origin(page: Page) -> None:
    assert "90 trials: 36 crossover, 34 mutation, 20 random; 5 failed." in page.words


def test_reasons_of_failures_are_told_the_frequent_ones_first() -> None:
    reasons = ["full\nup", *["MemoryError: no room"] * 3, *["slow"] * 2, *"abcde"]
    page = Page(render(replace(SMALL, trials=[TrialPoint(0, 0.1, 1000)], cheap=27, failures=reasons)))
    words = " ".join(page.words.split())
    assert "Why trials failed 3 times: MemoryError: no room 2 times: slow full up a b" in words
    assert "1 trial. It is the best of 27 cheap ones, on fewer users and passes." in words
    assert page.open == []


@pytest.mark.parametrize("bad", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "'&lt;"])
def test_strangers_words_stay_words(bad: str) -> None:
    trial = TrialPoint(0, 0.1, 1000, bad)
    data = ReportData(
        title=bad,
        comparison=[ModelResult(bad, {"ndcg@20": 0.1}, 1, 0.1), ModelResult(bad + "2", {"ndcg@20": 0.2}, 2, 0.1)],
        found=bad,
        facts={bad: bad},
        steps=[Step(bad, 2, 1, bad)],
        guesses=[bad],
        split_method=bad,
        trials=[trial],
        failures=[bad],
        genotype={bad: bad, "hops": 1, "combine": bad},
        curve=[CurvePoint(1, 0.1, 0.1)],
        importances=[GeneShare(bad, bad, 0.5, 0.1)],
        fits={bad: 0.5},
        lineage=[Ancestor(0, bad, [1], [(bad, bad, bad, 2)], [(bad, 1.0, 0.5, True)])],
        recommendations={bad: [bad]},
        command=bad,
        versions={bad: bad},
    )
    page = Page(render(data))
    assert not page.all("script")
    assert not page.all("img")
    assert page.words.count(bad) >= 24


def test_headers_have_a_scope_and_pictures_a_description(page: Page) -> None:
    assert all(header.get("scope") in ("row", "col") for header in page.all("th"))
    assert page.all("svg")
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in page.all("svg"))


def test_every_section_is_labelled_by_its_heading(page: Page) -> None:
    headings = {heading.get("id") for heading in page.all("h2")}
    assert {section.get("aria-labelledby") for section in page.all("section")} == headings


def test_no_id_is_used_twice(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_has_contrast(scheme: int) -> None:
    css = styles()
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", css.split(":root {")[scheme + 1].split("}")[0]))
    grounds = {"ink": ["page", "card", "tint", "good-tint", "bad-tint"], "muted": ["page", "card", "tint"]}
    grounds |= {name: ["card", "tint"] for name in ("accent", "warm")}
    for name, behind in grounds.items():
        for ground in behind:
            dark, light = sorted([luminance(colours[name]), luminance(colours[ground])])
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


def test_the_file_is_the_page_and_repeats_exactly(tmp_path: Path, text: str) -> None:
    assert write_report(tmp_path / "a.html", make_report()).read_text(encoding="utf-8") == text


def test_folders_above_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = write_report(tmp_path / "deep" / "report.html", SMALL)
    assert [found.name for found in path.parent.iterdir()] == ["report.html"]


def test_a_failure_keeps_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"report\.html: the report cannot be written: No space left on device"):
        write_report(path, SMALL)
    assert {found.name: found.read_text() for found in tmp_path.iterdir()} == {"report.html": "old"}


def test_a_folder_in_the_way_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the report cannot be written"):
        write_report(tmp_path, SMALL)


def test_what_compression_did_is_told_row_by_row() -> None:
    rows = Page(render(make_report())).rows
    assert ["Recall@20", "0.2231", "0.2214", "-0.76%"] in rows
    assert ["ms a user", "0.112", "0.081", "-28%"] in rows
    assert ["user.codes", "250,000", "60.6%"] in rows
    assert ["items, touched most", "4.00", "0%"] in rows
    assert ["items, touched least", "2.00", "25%"] in rows
    assert ["1, rarest", "–", "–"] in rows
    assert ["10, most popular", "0.2700", "0.2691"] in rows
