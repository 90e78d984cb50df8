"""Does one wheel serve the oldest and the newest torch that can be had as a CPU build?

A CUDA build of torch brings several GB of NVIDIA's packages, too much for CI: this asks the package index which
releases come without, tries the wheel under the first and the last of those, and says why not under the others.
"""

from __future__ import annotations

import json
import re
import sys

from fresh import ROOT, build_wheel, pip, smoke
from wheel_check import tested_torch

OLDEST = (2, 11)


def number(version: str) -> tuple[int, ...]:
    """2.13.0 as (2, 13, 0)."""
    return tuple(int(part) for part in version.split("."))


def releases() -> list[str]:
    """The releases of torch that the index has and that the package supports, oldest first."""
    listed = re.search(r"^Available versions: (.*)$", pip(sys.executable, "index", "versions", "torch"), re.MULTILINE)
    assert listed, "pip index versions torch: no line of available versions"
    public = {version.split("+")[0] for version in listed[1].split(", ")}
    return sorted((version for version in public if number(version) >= OLDEST), key=number)


def cuda_packages(version: str) -> list[str]:
    """NVIDIA's packages that a release would bring here; none for a CPU build. Nothing is downloaded but metadata."""
    options = ("--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--report", "-")
    report = json.loads(pip(sys.executable, "install", *options, f"torch=={version}"))
    requires = report["install"][0]["metadata"].get("requires_dist", [])
    return re.findall(r"^(?:nvidia|cuda)-[a-z0-9-]*", "\n".join(requires), re.MULTILINE)


def main() -> None:
    """Tries the wheel of `make wheel-check`, or builds one."""
    cpu = []
    for version in releases():
        try:
            cuda = cuda_packages(version)
        except SystemExit:
            # Where pip has constraints, it refuses the releases beyond them; the tested one it must have.
            if f"torch=={version}" == tested_torch():
                raise
            print(f"torch {version}: not tried, pip refuses it here (pip's own words are above)")
            continue
        if cuda:
            print(f"torch {version}: not tried, there is no CPU build of it here (it brings {', '.join(cuda[:3])}, …)")
        else:
            print(f"torch {version}: a CPU build")
            cpu.append(version)
    if not cpu:
        print("no release of torch can be had as a CPU build: the wheel is tried under none")
        return
    wheels = sorted((ROOT / "dist").glob("gnas_ext-*.whl"), key=lambda path: path.stat().st_mtime)
    wheel = wheels[-1] if wheels else build_wheel(ROOT / "dist")
    for version in sorted({cpu[0], cpu[-1]}, key=number):
        if f"torch=={version}" == tested_torch() and wheels:
            print(f"torch {version}: tried by make wheel-check")
        else:
            smoke(wheel, f"torch=={version}")


if __name__ == "__main__":
    main()
