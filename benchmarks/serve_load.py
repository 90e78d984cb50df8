"""How long does an answer take, and does memory grow? `make bench-serve`

    python -m benchmarks.serve_load --minutes 10 --artefact demo-out/artefact

`gnas-ext serve` as a process of its own, asked without a pause over connections that are kept, for random users and 20
items each: by turns one user a request and 64. All the while the artefact is replaced, every fifteen seconds.
A time is from the first byte sent to the last byte read, by a client on the same machine. Memory is what the process
holds (RSS), the median of each fifth of the time; and whether it levels off is a slope: MB a reload, least squares over
the last half of the reloads, each with the median of what was held until the next. Without --artefact it is one of
Gowalla's size, 29,858 users and 40,981 items with 64 int8 a row.
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import torch

import gnas_ext
from benchmarks import files, sources
from gnas_ext.evaluate.seen import SeenItems
from gnas_ext.models import FactorModel, Table
from gnas_ext.recommend import Provenance, save_artefact
from gnas_ext.recommend._folder import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
FOUND = HERE / "results" / "serve" / "figures.json"
DOCS = HERE.parent / "docs" / "serve.md"
USERS, ITEMS, WIDTH, TOUCHES = 29_858, 40_981, 64, 34
BATCHES = (1, 64)
K = 20
RELOAD_S = 15.0  # from one to the next
FEWEST_RELOADS = 4  # in a shorter time
RELOAD_LIMIT_S = 60.0  # for one; busy machines take long
FEWEST_SLOPE = 10  # reloads in the last half; after fewer, memory still finds its level
SAMPLES = 400  # of the memory
ROUNDS = 10  # of both batch sizes, so that memory is looked at under the same work early and late


class Load(NamedTuple):
    """What came of one batch size.

    Attributes:
        seconds: of each answer.
        failed: answers that were none.
        lasted_s: how long it was asked.
    """

    seconds: list[float]
    failed: int
    lasted_s: float


class Held(NamedTuple):
    """The memory at a moment.

    Attributes:
        reloads: until then.
        mb: RSS.
    """

    reloads: int
    mb: float


def made(folder: Path) -> Path:
    """An artefact of Gowalla's size with random rows and touches."""
    generator = torch.Generator().manual_seed(0)

    def table(rows: int) -> Table:
        codes = torch.randint(-127, 128, (rows, WIDTH), generator=generator, dtype=torch.int8)
        return Table(codes, torch.rand(rows, generator=generator) / 100)

    rng = np.random.default_rng(0)
    touched = np.sort(rng.integers(0, ITEMS // TOUCHES, (USERS, TOUCHES)) * TOUCHES + np.arange(TOUCHES))
    return saved(folder, FactorModel(table(USERS), table(ITEMS)), touched)


def saved(folder: Path, model: FactorModel, touched: NDArray[np.int64]) -> Path:
    """An artefact of a model and what each user touched, as many items each, ascending, [n_users, touches]."""
    items = range(model.n_items)
    return save_artefact(
        folder,
        model=model,
        user_ids=pl.Series(range(model.n_users)),
        item_ids=pl.Series(items),
        seen=SeenItems(np.arange(model.n_users + 1) * touched.shape[1], touched.astype(np.int32).ravel()),
        genotype={},
        metrics={},
        provenance=Provenance("random rows", (), "none", "none"),
        titles=pl.DataFrame({"item": items, "title": [f"Item {item}" for item in items]}),
    )


def load(address: str, users: Sequence[int | str], batch: int, seconds: float, clients: int) -> Load:
    """Asks without a pause."""
    answered: list[list[float]] = [[] for _ in range(clients)]
    failed = [0] * clients
    end = time.monotonic() + seconds

    def ask(place: int) -> None:
        rng = np.random.default_rng(place)
        connection = http.client.HTTPConnection(address, timeout=60)
        while time.monotonic() < end:
            some = [users[index] for index in rng.integers(0, len(users), batch)]
            body = json.dumps({"users": some, "k": K})
            began = time.perf_counter()
            try:
                connection.request("POST", "/recommend", body, {"content-type": "application/json"})
                response = connection.getresponse()
                found = response.read()
            except (OSError, http.client.HTTPException):
                failed[place] += 1
                connection.close()
                continue
            answered[place].append(time.perf_counter() - began)
            failed[place] += response.status != 200 or len(json.loads(found)["lists"]) != batch

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load([one for some in answered for one in some], sum(failed), time.monotonic() - began)


def together(loads: Sequence[Load]) -> Load:
    """Several rounds as one."""
    seconds = [one for load_ in loads for one in load_.seconds]
    return Load(seconds, sum(load_.failed for load_ in loads), sum(load_.lasted_s for load_ in loads))


def resident_mb(process: int) -> float:
    """What a process holds."""
    (line,) = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1e3


def health(address: str) -> dict[str, Any]:
    """What the server says of itself."""
    with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        connection.request("GET", "/healthz")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    return found


def watch(process: int, address: str, seconds: float, samples: list[Held]) -> None:
    """Looks at the memory again and again."""
    began = time.monotonic()
    for sample in range(1, SAMPLES + 1):
        time.sleep(max(0.0, began + sample * seconds / SAMPLES - time.monotonic()))
        samples.append(Held(health(address)["reloads"], resident_mb(process)))


def renew(folder: Path, address: str, seconds: float) -> None:
    """Replaces the artefact by another copy of it, again and again, each once the one before is served."""
    reloads = max(FEWEST_RELOADS, round(seconds / RELOAD_S))
    began = time.monotonic()
    for reload in range(reloads):
        time.sleep(max(0.0, began + (reload + 1) * seconds / (reloads + 1) - time.monotonic()))
        with replacing(folder) as fresh:
            # Not as one copy: files that are older than those before are noticed, too.
            shutil.copytree(folder, fresh, dirs_exist_ok=True, copy_function=shutil.copyfile)
        noticed = time.monotonic() + RELOAD_LIMIT_S
        while health(address)["reloads"] <= reload and time.monotonic() < noticed:
            time.sleep(0.2)


def levels(samples: Sequence[Held]) -> dict[str, Any]:
    """Memory by fifths of the time; over the last half of the reloads, MB a reload and the standard error of that."""
    fifth = len(samples) // 5
    fifths = [middle([held.mb for held in samples[k * fifth : (k + 1) * fifth]]) for k in range(5)]
    found: dict[str, Any] = {"fifths": fifths, "second_fifth": fifths[1], "last_fifth": fifths[4]}
    by_reload: dict[int, list[float]] = {}
    for held in samples:
        by_reload.setdefault(held.reloads, []).append(held.mb)
    late = sorted(by_reload)[len(by_reload) // 2 :]
    if len(late) >= FEWEST_SLOPE:
        x = np.array(late) - np.mean(late)
        y = np.array([np.median(by_reload[reloads]) for reloads in late])
        slope = float(x @ y / (x @ x))
        missed = y - y.mean() - slope * x
        error = float(np.sqrt(missed @ missed / (len(x) - 2) / (x @ x)))
        found |= {"mb_a_reload": round(slope, 3), "mb_a_reload_error": round(error, 3)}
    return found


def measure(artefact: Path | None, seconds: float, clients: int) -> dict[str, Any]:
    """One run: a server, two batch sizes, reloads and memory."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "artefact"
        if artefact is None:
            made(folder)
        else:
            shutil.copytree(artefact, folder)
        recommender = gnas_ext.load(folder)
        users = recommender.user_ids.to_list()
        busy = os.getloadavg()[0]
        command = [sys.executable, "-m", "gnas_ext", "serve", str(folder), "--port", "0", "--watch", "0.2"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            address = process.stdout.readline().strip().removeprefix("http://")
            try:
                load(address, users, 64, 1.0, clients)
                samples: list[Held] = []
                others = (
                    threading.Thread(target=watch, args=(process.pid, address, seconds, samples)),
                    threading.Thread(target=renew, args=(folder, address, seconds)),
                )
                for other in others:
                    other.start()
                rounds: dict[int, list[Load]] = {batch: [] for batch in BATCHES}
                for _ in range(ROUNDS):
                    for batch, some in rounds.items():
                        some.append(load(address, users, batch, seconds / ROUNDS / len(BATCHES), clients))
                found = {batch: together(some) for batch, some in rounds.items()}
                for other in others:
                    other.join()
                reloads = health(address)["reloads"]
            finally:
                process.terminate()
        return {
            "artefact": "random, of Gowalla's size" if artefact is None else recommender.manifest.provenance.data,
            "users": recommender.n_users,
            "items": recommender.n_items,
            "bytes": recommender.manifest.size_bytes,
            "clients": clients,
            "seconds": seconds,
            "batches": {str(batch): summary(batch, one) for batch, one in found.items()},
            "failed": sum(one.failed for one in found.values()),
            "reloads": reloads,
            "memory_mb": levels(samples),
            "exit_status": process.returncode,
            "machine": machine(),
            "load_average": round(busy, 1),
            "date": str(datetime.date.today()),
            "sources": sources.digest((*sources.PATTERNS, "gnas_ext/serve/**/*", "gnas_ext/recommend/*.py")),
        }


def middle(values: Sequence[float]) -> float:
    """The median, to a tenth."""
    return round(float(np.median(values)), 1)


def summary(batch: int, found: Load) -> dict[str, float]:
    """Milliseconds, and what came through."""
    p50, p99 = 1e3 * np.percentile(found.seconds, [50, 99])
    answers = len(found.seconds)
    return {
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "answers": answers,
        "users_a_second": round(batch * answers / found.lasted_s),
    }


def machine() -> str:
    """The processor and how many of it."""
    names = [line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def table(known: Sequence[dict[str, Any]]) -> str:
    """All runs, as Markdown."""
    lines = [
        "| Artefact | Users a request | p50, ms | p99, ms | Users a second |",
        "|---|---:|---:|---:|---:|",
    ]
    for run in known:
        for batch, found in run["batches"].items():
            lines.append(
                f"| {run['artefact']} | {batch} | {found['p50_ms']:.1f} | {found['p99_ms']:.1f} | "
                f"{found['users_a_second']:,} |"
            )
    for run in known:
        answers = sum(found["answers"] for found in run["batches"].values())
        lines += [
            "",
            f"{run['artefact']} ({run['users']:,} users, {run['items']:,} items): {run['clients']} clients for "
            f"{run['seconds']:g} s, {answers:,} answers, {run['failed']} failed, {run['reloads']} reloads; memory "
            f"{in_words(run['memory_mb'])}. {run['machine']}, {run['date']}; load average before it began: "
            f"{run['load_average']:.1f}.",
        ]
    return "\n".join(lines)


def in_words(memory: dict[str, Any]) -> str:
    """The memory in words, of runs too in which less was kept."""
    if "fifths" not in memory:
        early, late = memory["second_fifth"], memory["last_fifth"]
        return f"{early:.1f} MB in the second fifth of the time, {late:.1f} MB in the last"
    words = f"by fifths of the time {', '.join(f'{mb:.1f}' for mb in memory['fifths'])} MB"
    if "mb_a_reload" in memory:
        slope, error = memory["mb_a_reload"], memory["mb_a_reload_error"]
        words += f", in the last half of the reloads {slope:+.2f} ± {error:.2f} MB a reload (standard error)"
    return words


def main() -> None:
    """Measures, keeps, writes the document."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=10.0)
    arguments.add_argument("--clients", type=int, default=2)
    arguments.add_argument("--artefact", type=Path)
    arguments.add_argument("--found", type=Path, default=FOUND)
    arguments.add_argument("--docs", type=Path, default=DOCS)
    given = arguments.parse_args()
    run = measure(given.artefact, 60 * given.minutes, given.clients)
    known = json.loads(given.found.read_text()) if given.found.exists() else []
    known = [one for one in known if one["artefact"] != run["artefact"]] + [run]
    files.write(given.found, json.dumps(known, indent=1) + "\n")
    files.put_figures(given.docs, table(known))
    print(json.dumps(run, indent=1))
    if run["failed"] or run["exit_status"]:
        sys.exit(f"bench-serve: {run['failed']} answers failed, the server ended with {run['exit_status']}")


if __name__ == "__main__":
    main()
