"""Do the ops and layers agree with torch-scatter and PyG? Their tests, in an environment that has those too.

    make peers-check
    python ci/peers_check.py --without torch-scatter      which takes five to ten minutes to build

The environment of the checkout stays as it is: the new one sees its packages and adds what is missing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import time
from typing import TYPE_CHECKING

from fresh import ROOT, pip

if TYPE_CHECKING:
    from pathlib import Path

PEERS = ("torch-geometric>=2.6", "torch-scatter==2.1.2")


def environment(folder: Path) -> Path:
    """A new environment that sees the packages of the one that runs this; its interpreter."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        ours = sysconfig.get_path("purelib")
        (folder / "lib" / version / "site-packages" / "checkout.pth").write_text(f"{ours}\n")
    return python


def main() -> None:
    """Installs the peers and runs what is marked with them, and the benchmarks' comparison with every rival."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--without", action="append", default=[], help="torch-geometric or torch-scatter")
    given = arguments.parse_args()
    python = environment(ROOT / "build" / "peers")
    for peer in PEERS:
        if peer.split("=")[0].rstrip(">") not in given.without:
            began = time.monotonic()
            pip(python, "install", "--quiet", "--no-build-isolation", "-c", ROOT / "constraints.txt", peer)
            print(f"{peer}: there after {time.monotonic() - began:.0f} s", flush=True)
    tests = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = [
        subprocess.run([*tests, *more], check=False, cwd=ROOT).returncode
        for more in (["-m", "peers"], ["python_tests/test_benchmarks.py"])
    ]
    if any(done):
        sys.exit("peers-check: failed" if 5 not in done else "peers-check: no test was found")


if __name__ == "__main__":
    main()
