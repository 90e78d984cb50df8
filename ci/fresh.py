"""How does the package fare away from its checkout? A wheel of the sources as they are, tried in a new environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SMOKE = Path(__file__).with_name("smoke.py")


def pip(python: Path | str, *arguments: str | Path, **environment: str) -> str:
    """Runs pip in an environment, with variables beside those there are; what it printed."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def build_wheel(into: Path) -> Path:
    """Builds from a copy of what git would commit, so that nothing left over from another build gets in.

    Objects that `make install` has compiled are not compiled again: their sources must be those of the copy. Needs the
    build requirements in the environment that runs this, as it is without isolation.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    names = set(filter(None, listed.stdout.split("\0")))
    beside = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*") if path.is_file()} - names
    if beside:
        sys.exit(f"the native build would read what git ignores: {', '.join(sorted(beside))}")
    kept = {"GNAS_BUILD": str(ROOT / "build" / "native"), "GNAS_SOURCE": str(ROOT)}
    with tempfile.TemporaryDirectory() as copy, tempfile.TemporaryDirectory() as made:
        for name in names:
            if (ROOT / name).is_file():
                target = Path(copy, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        pip(sys.executable, "wheel", copy, "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", made, **kept)
        (wheel,) = Path(made).glob("gnas_ext-*.whl")
        into.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(wheel, into / wheel.name))


def smoke(wheel: Path, torch: str) -> None:
    """Installs torch (a requirement such as torch==2.13.0), numpy and the wheel somewhere new and tries them there."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder, "bin", "python")
        pip(python, "install", "--quiet", torch, "numpy")
        # Everything that the ops need is there: this must not fetch anything more.
        pip(python, "install", "--quiet", "--no-index", "--no-deps", wheel)
        pip(python, "check")
        if subprocess.run([python, "-I", SMOKE], check=False, cwd=folder).returncode != 0:
            sys.exit(f"{wheel.name} fails its smoke test under {torch}")
