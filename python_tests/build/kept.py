"""What `make install` has compiled, for tests that would compile the same again."""

from __future__ import annotations

import filecmp
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "native"


def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """What a command printed, with variables beside those there are."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=os.environ | environment)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def up_to_date(*targets: str) -> Path:
    """The folder of the native build, after what has changed since was compiled."""
    options = (f"-DGNAS_PYTHON={sys.executable}", f"-DGNAS_OUTPUT={KEPT / 'gnas_ext'}")
    run("cmake", "-G", "Ninja", "-S", ROOT, "-B", KEPT, *options)
    run("cmake", "--build", KEPT, "--target", *targets)
    return KEPT


def launcher(folder: Path) -> str:
    """For CMAKE_CXX_COMPILER_LAUNCHER of a build of a copy of the sources in a folder, with the same flags."""
    return f"{sys.executable};{Path(__file__)};{folder}"


def compile_or_copy(folder: Path, command: list[str]) -> int:
    """Runs a compiler, unless the checkout has the same source and its object. Headers are taken to be the same."""
    if "-c" in command:
        source = Path(command[command.index("-c") + 1]).resolve()
        target = Path(command[command.index("-o") + 1])
        twin, object_ = ROOT / source.relative_to(folder.resolve()), KEPT / target
        if twin.is_file() and object_.is_file() and filecmp.cmp(source, twin, shallow=False):
            shutil.copyfile(object_, target)
            return 0
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(compile_or_copy(Path(sys.argv[1]), sys.argv[2:]))
