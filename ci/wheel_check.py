"""Is there a wheel, and does it work in an environment that has never seen the checkout?"""

from __future__ import annotations

import re

from fresh import ROOT, build_wheel, smoke


def tested_torch() -> str:
    """The torch of constraints.txt, as a requirement."""
    found = re.search(r"^torch==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found, "constraints.txt names no torch"
    return found[0]


if __name__ == "__main__":
    wheel = build_wheel(ROOT / "dist")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB", flush=True)
    smoke(wheel, tested_torch())
