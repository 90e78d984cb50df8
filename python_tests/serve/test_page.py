"""Does the page work in a browser? What it shows for an address, and what typing and picking do."""

from __future__ import annotations

import html
import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.responses import HTMLResponse

import gnas_ext
from python_tests.chromium import CHROMIUM, FLAGS, NAMES
from python_tests.serve.running import in_a_thread, watching

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

ONLY_HERE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
# Does in a frame what a person does, and says what is seen after each step.
PROBE = """<!DOCTYPE html><title>probe</title><iframe src="/" style="width:390px;height:800px"></iframe><pre></pre>
<script>
const wait = async test => {
  for (let i = 0; i < 600; i++) { if (test()) return; await new Promise(done => setTimeout(done, 50)); }
  throw new Error("never: " + test);
};
const frame = document.querySelector("iframe");
frame.onload = async () => {
  const page = frame.contentDocument, $ = query => page.querySelector(query), found = {};
  const lines = () => [...page.querySelectorAll("#list > li strong")].map(title => title.textContent);
  const whole = () => lines().length && !page.querySelector("#list > li > p:not(.reason)");
  const type = (box, words) => { box.value = words; box.dispatchEvent(new Event("input", { bubbles: true })); };
  try {
    await wait(() => $("#about").textContent);
    found.about = $("#about").textContent;
    type($("#user"), "03");
    $("#by-user button").click();
    await wait(whole);
    found.user = lines();
    found.reasons = [...page.querySelectorAll(".reason")].map(line => line.textContent);
    found.sum = [...page.querySelectorAll("#list > li:first-child td:last-child")].map(cell => cell.textContent);
    found.sums = $("#list > li:first-child details p").textContent;
    found.width = page.documentElement.scrollWidth;
    type($("#user"), "<b>nobody</b>");
    $("#by-user button").click();
    await wait(() => $("#notice").textContent.includes("most popular") && whole());
    found.stranger = $("#notice").textContent;
    type($("#words"), "film");
    await wait(() => $("#found button"));
    found.offered = [...page.querySelectorAll("#found button")].map(button => button.textContent);
    $("#found button").click();
    found.picked = [...page.querySelectorAll("#picked button")].map(button => button.textContent);
    $("#go").click();
    await wait(() => $("#notice").textContent === "" && whole());
    found.items = lines();
    found.address = frame.contentWindow.location.hash;
    found.markup = page.querySelectorAll("b").length;
  } catch (error) { found.error = String(error); }
  document.querySelector("pre").textContent = JSON.stringify(found);
  document.title = "done";
};
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=f"no {' or '.join(NAMES)} on PATH")


def opened(url: str, profile: Path) -> tuple[str, list[str]]:
    """The document once the page has settled, and what was written to the console."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        *FLAGS,
        ONLY_HERE,
        f"--user-data-dir={profile}",
        "--virtual-time-budget=60000",
        "--dump-dom",
        url,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """An address with the page and the probe, and the artefact behind it."""
    from python_tests.recommend.conftest import make_sample

    folder = make_sample("int8").save(tmp_path_factory.mktemp("page") / "artefact")
    app = watching(folder)

    async def probing(scope: Scope, receive: Receive, send: Send) -> None:
        """The application, and the probe beside it, without the headers that would keep its script from running."""
        asked = HTMLResponse(PROBE) if scope.get("path") == "/probe" else app
        await asked(scope, receive, send)

    with in_a_thread(probing) as url:
        yield url, folder


@pytest.fixture(scope="module")
def probed(served: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the probe found."""
    document, console = opened(f"{served[0]}/probe", tmp_path_factory.mktemp("profile"))
    found = re.search(r"<pre>(.+?)</pre>", document)
    assert found is not None, console
    assert console == []
    seen: dict[str, Any] = json.loads(html.unescape(found[1]))
    assert seen.get("error") is None
    return seen


def names(folder: Path, items: list[str]) -> list[str]:
    titles = dict(gnas_ext.load(folder).titles.select("item", "title").iter_rows())
    return [titles[item] or item for item in items]


def test_a_user_sees_titles(probed: dict[str, Any], served: tuple[str, Path]) -> None:
    folder = served[1]
    wanted = gnas_ext.load(folder).recommend("03", k=10)["item"].to_list()
    assert probed["user"] == names(folder, wanted)


def test_a_user_sees_reasons_that_sum_up(probed: dict[str, Any]) -> None:
    assert len(probed["reasons"]) == 10
    assert all(line.startswith("because of ") for line in probed["reasons"])
    *lines, score = (float(cell.replace("−", "-")) for cell in probed["sum"])
    assert sum(lines) == pytest.approx(score, abs=0.001 * len(lines))


def test_a_user_sees_how_much_of_the_rows_touches_explain(probed: dict[str, Any], served: tuple[str, Path]) -> None:
    recommender = gnas_ext.load(served[1])
    wanted = recommender.explain("03", recommender.recommend("03", k=1)["item"][0])
    assert probed["sums"] == wanted.sums
    assert f"{wanted.explained:.1%}" in probed["sums"]


def test_a_stranger_is_told(probed: dict[str, Any]) -> None:
    assert probed["stranger"] == "“<b>nobody</b>” was not in training: these are the most popular items."
    assert probed["markup"] == 0  # what was typed is text


def test_items_are_found_picked_and_folded_in(probed: dict[str, Any], served: tuple[str, Path]) -> None:
    folder = served[1]
    assert probed["offered"] == ["Film | 1", "Film <3>"]
    assert probed["picked"] == ["Film | 1 ×"]
    wanted = gnas_ext.load(folder).recommend_for_items("00007", k=10)["item"].to_list()
    assert probed["items"] == names(folder, wanted)
    assert probed["address"] == "#item=00007"


def test_the_page_fits_a_phone(probed: dict[str, Any]) -> None:
    assert probed["width"] <= 390
    assert probed["about"] == "found model: 12 users, 30 items"


def test_an_address_can_be_sent(served: tuple[str, Path], tmp_path: Path) -> None:
    document, console = opened(f"{served[0]}/#user=05", tmp_path)
    assert console == []
    assert document.count("<li>") == 10
    assert document.count('class="reason"') == 10
