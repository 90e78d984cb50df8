"""How are ours and the rivals timed? In one run, by turns, on the same graph and the same numbers.

A family is one line of the targets: an op, ours and its rivals. A point of it is a graph and a width. At a point every
implementation is made ready, called and compared with ours; then all are timed a little, again and again in turn, so
that a moment when the machine is slow is the same for all. Reported is the median of all rounds of all turns.
"""

from __future__ import annotations

import gc
import math
import os
import time
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch

import gnas_ext
from benchmarks import data, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gnas_ext import CSR

    Run = Callable[[], Any]
    Prepare = Callable[["Setting"], Run]

WIDTHS = (16, 64, 128, 256)
OURS = "gnas_ext"
CEILING = "ceiling"
TURNS = 5
# Of one implementation in one turn; a call that takes longer is made once a turn.
TURN_SECONDS = 0.08
# On CUDA, where time is short and figures repeat: calls follow one another in a queue, as in training, and are waited
# for once a round.
CUDA_TURN_SECONDS, CUDA_MOST_CALLS = 0.02, 100
# A call that takes longer than this, or than so many times the best rival's, is timed in the first turns only.
SLOW_SECONDS, SLOW_FACTOR, SLOW_TURNS = 0.5, 5.0, 3
# On a larger graph than this, a rival is timed if its first call took at most so many times as long as the best one's.
LARGE_EDGES, LARGE_FACTOR = 5_000_000, 3.0
# So many times as long, and it is not even called at the larger sizes of that graph.
HOPELESS_FACTOR = 8.0


class UnableError(Exception):
    """Why an implementation has no figure at a point; the table says it."""


class Target(NamedTuple):
    """What the best rival's time over ours must be at least: the geometric mean of all points, and each one.

    Attributes:
        mean: geometric mean of the points.
        never_below: each point.
        graph: the only graph that counts; all where it is empty.
    """

    mean: float
    never_below: float
    graph: str = ""


class Family(NamedTuple):
    """An op, ours and its rivals.

    Attributes:
        name: as the table calls it.
        target: what it has to reach; None where nothing was promised.
        implementations: each by name; given a setting, a function without arguments that is what is timed. Conversions
            belong before it. It returns a tensor or several, which must be ours.
        sizes: the widths, or what else a point is measured at.
        size: what a size is called.
        dtype: of the features.
        huge_pages: the rivals that are measured once more in a process with huge pages, beside ours, and what
            those have to show.
        graphs: the graphs, where they are not those that were asked for.
        limit_us: what a call of ours may take at most, in microseconds.
        cuda_target: what it has to reach on CUDA.
        device: the only one that it is measured on; any where it is empty.
        same_numbers: whether the rivals compute what ours does. Not where they are what a saving is measured against,
            such as our own product without pruning.
        cuda_graphs: the graphs on CUDA, where they are others.
    """

    name: str
    target: Target | None
    implementations: Mapping[str, Prepare]
    sizes: tuple[int, ...] = WIDTHS
    size: str = "width"
    dtype: torch.dtype = torch.float32
    huge_pages: tuple[str, ...] = ()
    huge_pages_target: Target | None = None
    graphs: tuple[str, ...] = ()
    limit_us: float | None = None
    cuda_target: Target | None = None
    device: str = ""
    same_numbers: bool = True
    cuda_graphs: tuple[str, ...] = ()


class Setting:
    """What all implementations get at a point. Made when it is first asked for, and the same for all."""

    def __init__(self, graph: data.Graph, size: int, dtype: torch.dtype) -> None:
        self.graph, self.width, self.dtype = graph, size, dtype
        self.csr: CSR = graph.csr.to(dtype=dtype)
        self.device = self.csr.device

    def numbers(self, *shape: int, seed: int = 0) -> torch.Tensor:
        """Normally distributed, the same at every call."""
        random = torch.Generator(self.device).manual_seed(seed)
        return torch.randn(shape, generator=random, device=self.device).to(self.dtype)

    @cached_property
    def x(self) -> torch.Tensor:
        """Features, [cols, width]."""
        return self.numbers(self.csr.cols, self.width)

    @cached_property
    def gradient(self) -> torch.Tensor:
        """Of an output of shape [rows, width]."""
        return self.numbers(self.csr.rows, self.width, seed=1)

    @cached_property
    def weight(self) -> torch.Tensor:
        """Of the edges, [nnz]."""
        assert self.csr.weight is not None
        return self.csr.weight

    @cached_property
    def row(self) -> torch.Tensor:
        """The row of each edge in int64, which is what PyTorch and torch-scatter take."""
        return self.csr.row_index().long()

    @cached_property
    def col(self) -> torch.Tensor:
        """The column of each edge in int64."""
        return self.csr.indices.long()

    @cached_property
    def indptr(self) -> torch.Tensor:
        """The row pointers in int64."""
        return self.csr.indptr.long()

    @cached_property
    def unweighted(self) -> CSR:
        """The same edges without weights."""
        return self.csr.with_weight(None)

    def on_the_cpu(self) -> None:
        """Refuses to measure on a GPU what runs on the CPU alone."""
        if self.device.type != "cpu":
            raise UnableError("runs on the CPU alone")

    def wide_on_cuda(self) -> None:
        """Refuses those who add up in bfloat16 on a GPU, where a hub's sum stops growing: their numbers are others."""
        if self.device.type == "cuda" and self.dtype not in (torch.float32, torch.float64):
            raise UnableError("adds up in bfloat16 on a GPU: other numbers")

    def messages(self, width: int | None = None, tensors: int = 1) -> None:
        """Refuses to make tensors of edges × width that memory has no room for."""
        wanted = tensors * self.csr.nnz * (width or self.width) * self.dtype.itemsize
        if self.device.type == "cuda":
            room = torch.cuda.mem_get_info(self.device)[0] // 2
        else:
            room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        if wanted > room:
            raise UnableError(f"tensors of edges × width would take {wanted / 2**30:.0f} GiB")


class Point(NamedTuple):
    """A family on a graph at a size."""

    family: Family
    graph: str
    device: str
    size: int


class Ready(NamedTuple):
    """An implementation that agrees with ours, and how long its first call took."""

    run: Run
    seconds: float


class Prepared(NamedTuple):
    """A point that can be timed: what is ready, why the rest is not, and what is wrong."""

    setting: Setting
    ready: dict[str, Ready]
    unable: dict[str, str]
    wrong: dict[str, str]


def outputs(result: Any) -> list[torch.Tensor]:
    """What an implementation returned as a list of tensors."""
    parts = result if isinstance(result, (tuple, list)) else (result,)
    return [torch.as_tensor(part).detach() for part in parts]


def compare(got: Any, expected: Any, dtype: torch.dtype) -> None:
    """Raises unless the numbers are the same to within the rounding of sums in another order."""
    wide = dtype in (torch.float32, torch.float64)
    relative, absolute = (1e-3, 1e-5) if wide else (3e-2, 6e-3)
    got, expected = outputs(got), outputs(expected)
    assert len(got) == len(expected), f"{len(got)} results, {len(expected)} expected"
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape, f"a result of shape {list(one.shape)}, expected {list(other.shape)}"
        # Sums of a million terms cancel: what rounding leaves is small beside the largest number, not beside each.
        room = absolute * max(10.0, float(other.abs().max())) if other.numel() else absolute
        # In parts: on the large graph a result is a gigabyte.
        for part, right in zip(one.split(1 << 16), other.split(1 << 16), strict=True):
            if not torch.allclose(part.to(right), right, relative, room):
                torch.testing.assert_close(part.to(right), right, rtol=relative, atol=room)


def synchronised(run: Run, device: torch.device) -> Run:
    """The same function, which on CUDA returns when the work is done."""
    if device.type != "cuda":
        return run

    def and_wait() -> Any:
        result = run()
        torch.cuda.synchronize()
        return result

    return and_wait


def first_calls(make: Prepare, setting: Setting) -> tuple[Ready, Any]:
    """An implementation made ready, and what its first call returned. A quick one is called twice: caches are cold."""
    run = make(setting)
    waits = synchronised(run, setting.device)
    began = time.perf_counter()
    result = waits()
    seconds = time.perf_counter() - began
    if seconds < SLOW_SECONDS:
        began = time.perf_counter()
        waits()
        seconds = min(seconds, time.perf_counter() - began)
    return Ready(run, seconds), result


def prepare(point: Point, only: tuple[str, ...] = ()) -> Prepared:
    """Makes every implementation ready, calls it, and compares it with ours."""
    family = point.family
    setting = Setting(graph(point.graph, point.device), point.size, family.dtype)
    found = Prepared(setting, {}, {}, {})
    expected: Any = None
    for name, make in family.implementations.items():
        if only and name not in only:
            continue
        try:
            if (family.name, point.graph, name) in hopeless:
                raise UnableError(f"took over {HOPELESS_FACTOR:g}× the best rival's time at a smaller {family.size}")
            ready, result = first_calls(make, setting)
            if name == OURS:
                expected = result
            elif name != CEILING and family.same_numbers:
                compare(result, expected, family.dtype)
            found.ready[name] = ready
        except UnableError as error:
            found.unable[name] = str(error)
        except AssertionError as error:
            found.wrong[name] = f"not our numbers: {error}"
        except Exception as error:  # a rival may fail in any way; its own words stand in the table
            words = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"
            (found.wrong if name == OURS else found.unable)[name] = words
        if name == OURS and name not in found.ready:
            break
        if setting.csr.nnz > LARGE_EDGES:
            leave_out_the_slow(point, found)
    if setting.device.type == "cuda":
        torch.cuda.empty_cache()
    return found


def best_rival(found: Prepared) -> float:
    """Seconds of the fastest rival's first calls."""
    rivals = (ready.seconds for name, ready in found.ready.items() if name not in (OURS, CEILING))
    return min(rivals, default=math.inf)


def leave_out_the_slow(point: Point, found: Prepared) -> None:
    """Drops the rivals that cannot be the best one, and what they keep in memory."""
    best = best_rival(found)
    for name, (_, seconds) in list(found.ready.items()):
        if name not in (OURS, CEILING) and seconds > LARGE_FACTOR * best:
            found.unable[name] = f"its first call took {seconds:.2f} s, over {LARGE_FACTOR:g}× the best rival's"
            del found.ready[name]
            if seconds > HOPELESS_FACTOR * best:
                hopeless.add((point.family.name, point.graph, name))


class Turn(NamedTuple):
    """One implementation's share of one turn."""

    point: Point
    number: int
    implementation: str

    def __str__(self) -> str:
        family, graph_, _, size = self.point
        return f"{family.name.replace(' ', '_')}-{graph_}-{size}-turn{self.number}-{self.implementation}"


def turns(families: list[Family], graphs: list[str], device: str, huge_pages: bool) -> Iterator[Turn]:
    """All that is timed, in order: the implementations innermost."""
    for family in families:
        if family.device not in ("", device):
            continue
        names = timed(family, huge_pages)
        for name in graphs_of(family, graphs, device):
            for size in family.sizes:
                point = Point(family, name, device, size)
                yield from (Turn(point, number, name) for number in range(TURNS) for name in names)


def graphs_of(family: Family, graphs: list[str], device: str) -> list[str]:
    """Where a family is measured. On CUDA a process has a graph, and families of small ones stand beside the first."""
    own = family.graphs if device == "cpu" else family.cuda_graphs or family.graphs
    if device == "cpu" or not own:
        return list(own or graphs)
    beside = [*data.SMALL] if "gowalla" in graphs else []
    return [name for name in own if name in (*graphs, *beside)]


def timed(family: Family, huge_pages: bool) -> tuple[str, ...]:
    """Which implementations of a family are timed: with huge pages only those that it names."""
    if not huge_pages:
        return tuple(family.implementations)
    return (OURS, *family.huge_pages) if family.huge_pages else ()


# Why an implementation was not timed, by family, graph and size.
unable: dict[tuple[str, str, int], dict[str, str]] = {}
# Who was too slow by far at a smaller size, by family and graph.
hopeless: set[tuple[str, str, str]] = set()
_graphs: dict[tuple[str, str], data.Graph] = {}
_prepared: dict[tuple[str, str, str, int], Prepared] = {}


def graph(name: str, device: str) -> data.Graph:
    """The graph of a point; the last one is kept."""
    if (name, device) not in _graphs:
        _graphs.clear()
        gc.collect()
        _graphs[name, device] = data.load(name, device)
    return _graphs[name, device]


def prepared(point: Point) -> Prepared:
    """The point made ready; the last one is kept."""
    key = (point.family.name, point.graph, point.device, point.size)
    if key not in _prepared:
        _prepared.clear()
        gc.collect()
        _prepared[key] = prepare(point, timed(point.family, pages() == "huge"))
    return _prepared[key]


def pages() -> str:
    """Are torch's large blocks on huge pages in this process?"""
    return "huge" if os.environ.get("THP_MEM_ALLOC_ENABLE") == "1" else "default"


def about(point: Point, setting: Setting) -> dict[str, Any]:
    """What was measured on what, for those who read the JSON."""
    family, csr, device = point.family, setting.csr, setting.device
    return {
        "family": family.name,
        "target": target_of(family, device),
        "limit_us": family.limit_us,
        "graph": setting.graph.name,
        "nodes": csr.rows,
        "edges": csr.nnz,
        "bytes": bytes_moved(setting),
        "size_name": family.size,
        "size": point.size,
        "dtype": str(setting.dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "pages": pages(),
        "threads": torch.get_num_threads(),
        "simd": gnas_ext.simd_level(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "sources": sources.digest(),
    }


def target_of(family: Family, device: torch.device) -> Target | None:
    """What was promised for where it runs."""
    if device.type == "cuda":
        return family.cuda_target
    return family.huge_pages_target if pages() == "huge" else family.target


def bytes_moved(setting: Setting) -> int:
    """What a product must at least read and write: a row of x an edge, indices, weights, row pointers, the output."""
    csr, row = setting.csr, setting.width * setting.dtype.itemsize
    index = csr.indices.element_size()
    return csr.nnz * (row + index + setting.dtype.itemsize) + csr.rows * (row + index)


def measure(benchmark: Any, turn: Turn) -> None:
    """Times one implementation for one turn. Skips, with the reason, what cannot run at this point."""
    name, found = turn.implementation, prepared(turn.point)
    key = (turn.point.family.name, found.setting.graph.name, turn.point.size)
    if name in found.wrong:
        pytest.fail(found.wrong[name], pytrace=False)
    if name not in found.ready:
        reason = found.unable.get(name, "not measured without ours")
        unable[key] = {**unable.get(key, {}), name: reason}
        pytest.skip(reason)
    run, seconds = found.ready[name]
    if turn.number >= SLOW_TURNS and (seconds > SLOW_SECONDS or seconds > SLOW_FACTOR * best_rival(found)):
        return
    benchmark.extra_info.update(about(turn.point, found.setting), implementation=name)
    if turn.number == 0 and found.setting.device.type == "cuda":
        benchmark.extra_info["peak_bytes"] = peak_bytes(run)
    if found.setting.device.type == "cuda":
        benchmark.extra_info["calls"] = calls = max(1, min(CUDA_MOST_CALLS, int(CUDA_TURN_SECONDS / 2 / seconds)))
        benchmark.pedantic(queued(run, calls), rounds=2, warmup_rounds=1)
        return
    rounds = max(1, min(10, int(TURN_SECONDS / seconds)))
    # A call of a few microseconds is shorter than the clock's own cost.
    iterations = max(1, int(1e-3 / seconds))
    benchmark.pedantic(run, rounds=rounds, iterations=iterations, warmup_rounds=int(seconds < TURN_SECONDS))


def queued(run: Run, calls: int) -> Run:
    """So many calls that follow one another on the stream, and a wait."""

    def all_of_them() -> None:
        for _ in range(calls):
            run()
        torch.cuda.synchronize()

    return all_of_them


def peak_bytes(run: Run) -> int:
    """How much a call takes beyond what was there before it, on CUDA."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return torch.cuda.max_memory_allocated() - before


def points(benchmarks: Any) -> list[dict[str, Any]]:
    """What pytest-benchmark measured, an entry a point: medians over all rounds of all turns."""
    found: dict[str, dict[str, Any]] = {}
    rounds: dict[str, dict[str, list[float]]] = {}
    for entry in benchmarks:
        info = dict(entry.extra_info)
        name, peak, calls = info.pop("implementation"), info.pop("peak_bytes", None), info.pop("calls", 1)
        key = f"{info['family']} {info['graph']} {info['size']}"
        point = found.setdefault(key, {**info, "seconds": {}, "rounds": {}, "unable": {}, "peak_bytes": {}})
        rounds.setdefault(key, {}).setdefault(name, []).extend(round_ / calls for round_ in entry.stats.data)
        if peak is not None:
            point["peak_bytes"][name] = peak
    for key, point in found.items():
        point["seconds"] = {name: median(all_) for name, all_ in rounds[key].items()}
        point["rounds"] = {name: len(all_) for name, all_ in rounds[key].items()}
        point["unable"] = unable.get((point["family"], point["graph"], point["size"]), {})
    return list(found.values())
