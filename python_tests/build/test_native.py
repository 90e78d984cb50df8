"""Is the build what it claims: one wheel for any x86-64 and any torch from 2.11 on?"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import gnas_ext
from python_tests.build.kept import KEPT, ROOT, run, up_to_date

PACKAGE = Path(gnas_ext.__file__).parent
LEVELS = ("baseline", "avx2", "avx512")
KERNEL_FILES = sorted((ROOT / "csrc" / "ops").glob("*/*_simd.cpp"))

needs_binutils = pytest.mark.skipif(
    shutil.which("nm") is None or shutil.which("readelf") is None,
    reason="needs nm and readelf (apt-get install binutils)",
)
needs_levels = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the levels are those of x86-64")


class Symbol(NamedTuple):
    kind: str
    name: str


def symbols(path: Path, *options: str) -> list[Symbol]:
    lines = run("nm", "--demangle", *options, path).splitlines()
    found = (re.fullmatch(r"[0-9a-f ]{16} ([A-Za-z]) (.*)", line) for line in lines)
    return [Symbol(match[1], match[2]) for match in found if match]


def library(name: str) -> Path:
    (path,) = PACKAGE.glob(name)
    return path


def dynamic(path: Path, tag: str) -> list[str]:
    return re.findall(rf"\({tag}\).*\[(.*)\]", run("readelf", "--dynamic", "--wide", path))


def declared_kernels(source: Path) -> set[str]:
    header = source.with_name(source.name.replace("_simd.cpp", ".h"))
    return set(re.findall(r"^GNAS_KERNEL\((\w+),", header.read_text(), re.MULTILINE))


def check_object(path: Path, level: str, source: Path) -> None:
    """The object defines the kernels of its header at its level and nothing else that a linker could pick."""
    visible = [symbol for symbol in symbols(path, "--defined-only") if symbol.kind not in "tbdr"]
    kernels = {symbol.name.split("(")[0] for symbol in visible if symbol.kind == "T"}
    assert kernels == {f"gnas::{level}::{name}" for name in declared_kernels(source)}
    assert [symbol for symbol in visible if symbol.kind != "T"] == []


@pytest.mark.slow
@needs_binutils
@needs_levels
@pytest.mark.parametrize("source", KERNEL_FILES, ids=lambda path: path.stem)
def test_a_kernel_file_lets_no_inline_function_out(source: Path, tmp_path: Path) -> None:
    """As below at -O1, which inlines less than a release build: another compiler may, too."""
    target = tmp_path / "kernel.o"
    flags = "-O1 -fPIC -std=gnu++17 -fvisibility=hidden -DGNAS_X86_LEVELS=3 -DGNAS_ISA=avx512 -mavx2 -mfma -mf16c"
    more = "-mavx512f -mavx512bw -mavx512dq -mavx512vl -Wno-psabi"
    run(os.environ.get("CXX", "g++"), *flags.split(), *more.split(), f"-I{ROOT / 'csrc'}", "-c", source, "-o", target)
    check_object(target, "avx512", source)


@needs_binutils
@needs_levels
@pytest.mark.skipif(not (KEPT / "build.ninja").is_file(), reason="needs the objects that make install keeps")
def test_no_object_of_the_release_build_lets_an_inline_function_out() -> None:
    """The linker keeps one copy of a weak function: one compiled for AVX-512 would crash an older machine."""
    work = up_to_date(*(f"gnas_simd_{level}" for level in LEVELS))
    commands = json.loads((work / "compile_commands.json").read_text())
    checked = set()
    for command in commands:
        source = Path(command["file"])
        if source in KERNEL_FILES:
            words = shlex.split(command["command"])
            level = next(word.removeprefix("-DGNAS_ISA=") for word in words if word.startswith("-DGNAS_ISA="))
            check_object(work / words[words.index("-o") + 1], level, source)
            checked.add((level, source))
    assert len(checked) == len(LEVELS) * len(KERNEL_FILES) > 0


@needs_binutils
@needs_levels
def test_the_library_has_every_kernel_at_every_level() -> None:
    defined = {symbol.name.split("(")[0] for symbol in symbols(library("lib/libgnas_cpu.so"), "--defined-only")}
    kernels = {name for source in KERNEL_FILES for name in declared_kernels(source)}
    assert len(kernels) > 0
    assert {f"gnas::{level}::{name}" for level in LEVELS for name in kernels} <= defined


@needs_binutils
def test_the_op_library_takes_only_the_stable_abi_from_torch() -> None:
    """Any other symbol of torch may be gone in its next release."""
    missing = symbols(library("lib/libgnas_cpu.so"), "--dynamic", "--undefined-only")
    system = re.compile(r"(std|__cxxabiv1|__gnu_cxx)::|(vtable|typeinfo|VTT) for |operator (new|delete)|.*@[A-Z]")
    from_torch = {symbol.name for symbol in missing if symbol.kind == "U" and not system.match(symbol.name)}
    assert any(name.startswith("aoti_torch_") for name in from_torch)
    assert {name for name in from_torch if not name.startswith(("aoti_torch_", "torch_"))} == set()


@needs_binutils
def test_the_op_library_needs_no_python_and_one_torch_library() -> None:
    needed = dynamic(library("lib/libgnas_cpu.so"), "NEEDED")
    assert [name for name in needed if "torch" in name or "c10" in name] == ["libtorch_cpu.so"]
    assert not any("python" in name for name in needed)


@needs_binutils
def test_libraries_are_looked_for_beside_the_module_only() -> None:
    module = library("_C.*.so")
    assert dynamic(module, "RUNPATH") + dynamic(module, "RPATH") == ["$ORIGIN/lib"]
    ops = library("lib/libgnas_cpu.so")
    assert dynamic(ops, "RUNPATH") + dynamic(ops, "RPATH") == []


def test_nothing_is_built_for_this_machine_alone() -> None:
    files = [ROOT / "CMakeLists.txt", ROOT / "setup.py", ROOT / "Makefile", ROOT / "pyproject.toml"]
    for path in files:
        assert not re.search(r"-m(arch|cpu|tune)=", path.read_text()), path


def test_a_kernel_file_includes_no_torch_and_no_cuda() -> None:
    for source in KERNEL_FILES:
        flags = ["-MM", "-std=gnu++17", "-DGNAS_ISA=baseline", "-DGNAS_X86_LEVELS=3", f"-I{ROOT / 'csrc'}"]
        included = run(os.environ.get("CXX", "g++"), *flags, source)
        assert "core/simd.h" in included  # all of them declare kernels: headers are followed
        assert not re.search(r"torch|cuda|pybind", included)


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_the_environment_chooses_the_instruction_set() -> None:
    done = python("import gnas_ext; print(gnas_ext.simd_level())", GNAS_EXT_SIMD="baseline")
    assert done.stdout.strip() == "baseline", done.stderr


def test_an_unknown_instruction_set_is_refused_in_one_line() -> None:
    done = python("import gnas_ext", GNAS_EXT_SIMD="avx1024")
    offered = ", ".join(gnas_ext.simd_levels())
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == f"ValueError: GNAS_EXT_SIMD=avx1024: this machine offers {offered}"


def test_setting_an_unknown_instruction_set_changes_nothing() -> None:
    before = gnas_ext.simd_level()
    with pytest.raises(ValueError, match=r"^sse9: this machine offers baseline"):
        gnas_ext.set_simd_level("sse9")
    assert gnas_ext.simd_level() == before


def test_levels_are_offered_worst_first_and_the_best_is_in_use() -> None:
    levels = gnas_ext.simd_levels()
    assert levels == list(LEVELS[: len(levels)])
    # Without the variable, wherever these tests run with it.
    done = python("import os; os.environ.pop('GNAS_EXT_SIMD', None); import gnas_ext; print(gnas_ext.simd_level())")
    assert done.stdout.strip() == levels[-1], done.stderr


def test_build_info_says_what_was_built_and_what_runs() -> None:
    info = gnas_ext.build_info()
    assert set(info) == {"compiler", "torch_headers", "torch", "simd", "simd_levels", "cuda", "cuda_loaded"}
    assert info["torch"] == torch.__version__
    assert info["simd"] == gnas_ext.simd_level()
    assert info["simd_levels"] == ", ".join(gnas_ext.simd_levels())
    assert re.match(r"(GNU|Clang) \d", info["compiler"])
    assert re.match(r"2\.\d+\.\d+", info["torch_headers"])
    assert info["cuda"].startswith(("built with nvcc", "linked against a stand-in", "not built: "))
    assert info["cuda_loaded"] == ("yes" if torch.version.cuda and list(PACKAGE.glob("lib/libgnas_cuda.so")) else "no")


def test_an_older_torch_is_refused_in_one_line() -> None:
    done = python("import torch; torch.__version__ = '2.10.1'; import gnas_ext")
    assert done.returncode != 0
    expected = "ImportError: gnas_ext needs torch 2.11 or later, found 2.10.1: pip install 'torch>=2.11'"
    assert done.stderr.splitlines()[-1] == expected
