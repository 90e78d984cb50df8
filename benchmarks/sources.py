"""Which sources were measured? A hash of all that a figure depends on, with or without git."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATTERNS = ("CMakeLists.txt", "csrc/**/*", "gnas_ext/*.py", "gnas_ext/ops/**/*.py", "gnas_ext/graph/**/*.py")


@cache
def digest(patterns: tuple[str, ...] = PATTERNS) -> str:
    """The first 12 digits of a SHA-256 over names and contents; if not said, of the native sources, ops and graph."""
    found = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()):
        content = path.read_bytes()
        found.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()[:12]
