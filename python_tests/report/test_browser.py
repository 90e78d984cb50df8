from __future__ import annotations

import html
import json
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import matplotlib.image
import pytest

from gnas_ext.report import write_report
from python_tests.chromium import CHROMIUM, FLAGS, NAMES

from .conftest import make_report
from .test_page import SECTIONS

if TYPE_CHECKING:
    from pathlib import Path

# The browser's own business, which no flag ends; a page of ours names none of these.
OWN_HOSTS = (".google.com", ".googleapis.com", ".gvt1.com")
BAD_PAGE = '<!DOCTYPE html><title>bad</title><img src="http://127.0.0.1:9/x.png"><script>console.error("boom")</script>'
PROBE = """<!DOCTYPE html><title>probe</title>
<iframe src="report.html" style="width:360px;height:900px;border:0"></iframe>
<iframe src="report.html" style="width:1280px;height:900px;border:0"></iframe>
<pre id="found"></pre>
<script>
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument;
    const shown = [...page.querySelectorAll("svg")].filter(svg => svg.getBoundingClientRect().width > 0);
    const outside = shown.flatMap(svg => [...svg.querySelectorAll("g")]).filter(group => {
      const box = group.querySelector(":scope > rect");
      return box && [...group.querySelectorAll(":scope > text")].some(text => {
        const words = text.getBBox(), room = box.getBBox();
        return words.x < room.x || words.x + words.width > room.x + room.width
          || words.y < room.y || words.y + words.height > room.y + room.height;
      });
    });
    return {
      width: page.documentElement.scrollWidth,
      scrolling: [...page.querySelectorAll(".scroll")]
        .filter(box => box.checkVisibility() && box.scrollWidth > box.clientWidth).length,
      sections: [...page.querySelectorAll("section")].filter(s => s.getBoundingClientRect().height > 100).length,
      pictures: shown.map(svg => svg.getAttribute("class") || "plot"),
      smallest: Math.min(...shown.flatMap(svg => {
        const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
        return [...svg.querySelectorAll("text")].map(text => parseFloat(getComputedStyle(text).fontSize) * scale);
      })),
      outside: outside.map(group => group.textContent),
    };
  });
  document.querySelector("#found").textContent = JSON.stringify(found);
});
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=f"no {' or '.join(NAMES)} on PATH")


@dataclass
class Visit:
    """What opening a page in Chromium gave: the document, the console, and what was asked of the network."""

    document: str
    console: list[str]
    requests: list[str]


def chromium(url: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Runs Chromium with a new profile and no names to resolve."""
    assert CHROMIUM is not None
    profile = folder / f"profile{len(list(folder.iterdir()))}"
    command = [CHROMIUM, *FLAGS, "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}", *flags, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def visit(url: str, folder: Path, *flags: str) -> Visit:
    log = folder / "net.json"
    done = chromium(url, folder, f"--log-net-log={log}", "--dump-dom", *flags)
    events = json.loads(log.read_text())["events"]
    asked = {str(event.get("params", {}).get("url", "")) for event in events}
    hosts = {url: urlsplit(url).hostname or "" for url in asked if url.startswith(("http", "ws", "ftp"))}
    return Visit(
        done.stdout,
        [line for line in done.stderr.splitlines() if ":CONSOLE" in line],
        sorted(url for url, host in hosts.items() if not host.endswith(OWN_HOSTS)),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    write_report(folder / "report.html", make_report())
    return folder


@pytest.fixture(scope="module")
def report_visit(folder: Path) -> Visit:
    return visit((folder / "report.html").as_uri(), folder)


@pytest.fixture(scope="module")
def layouts(folder: Path) -> list[dict[str, Any]]:
    """Measures of the report in a frame of 360 pixels and in one of 1280."""
    (folder / "probe.html").write_text(PROBE)
    seen = visit((folder / "probe.html").as_uri(), folder, "--allow-file-access-from-files", "--window-size=1400,2000")
    found = re.search(r'<pre id="found">(.+?)</pre>', seen.document)
    assert found is not None, seen.console
    measured: list[dict[str, Any]] = json.loads(html.unescape(found[1]))
    return measured


def test_a_bad_page_is_noticed(folder: Path) -> None:
    (folder / "bad.html").write_text(BAD_PAGE)
    seen = visit((folder / "bad.html").as_uri(), folder)
    assert seen.requests == ["http://127.0.0.1:9/x.png"]
    assert len(seen.console) == 1
    assert "boom" in seen.console[0]


def test_the_console_stays_empty(report_visit: Visit) -> None:
    assert report_visit.console == []


def test_nothing_is_asked_of_the_network(report_visit: Visit) -> None:
    assert report_visit.requests == []


def test_the_browser_keeps_all_sections(report_visit: Visit) -> None:
    assert report_visit.document.count("<section ") == len(SECTIONS)


def test_all_sections_are_laid_out(layouts: list[dict[str, Any]]) -> None:
    assert [layout["sections"] for layout in layouts] == [len(SECTIONS)] * 2


def test_the_page_is_never_wider_than_the_screen(layouts: list[dict[str, Any]]) -> None:
    assert [layout["width"] for layout in layouts] == [360, 1280]


def test_only_the_command_scrolls_and_only_on_a_phone(layouts: list[dict[str, Any]]) -> None:
    assert [layout["scrolling"] for layout in layouts] == [1, 0]


def test_each_width_has_its_own_picture_of_the_architecture(layouts: list[dict[str, Any]]) -> None:
    pictures = [[name for name in layout["pictures"] if name != "plot"] for layout in layouts]
    assert pictures == [["narrow"], ["wide"]]
    assert [len(layout["pictures"]) for layout in layouts] == [5, 5]


def test_words_stay_in_their_boxes(layouts: list[dict[str, Any]]) -> None:
    assert [layout["outside"] for layout in layouts] == [[], []]


def test_words_in_pictures_can_be_read(layouts: list[dict[str, Any]]) -> None:
    assert all(layout["smallest"] >= 9 for layout in layouts)


@pytest.mark.parametrize(("scheme", "low", "high"), [(0, 0.0, 0.2), (1, 0.9, 1.0)], ids=["dark", "light"])
def test_the_page_follows_the_colour_scheme(folder: Path, scheme: int, low: float, high: float) -> None:
    shot = folder / f"{scheme}.png"
    flags = (f"--screenshot={shot}", "--window-size=1280,900", f"--blink-settings=preferredColorScheme={scheme}")
    chromium((folder / "report.html").as_uri(), folder, *flags)
    pixels = matplotlib.image.imread(shot)[:, :, :3]
    assert low <= float(pixels[5, 5].mean()) <= high  # the page's ground
    assert float(pixels.max() - pixels.min()) > 0.7  # and something on it
