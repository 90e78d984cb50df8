"""Would loading this folder end the process? A process of its own finds out, before one that answers tries it.

What is damaged, inconsistent or forged is refused by `recommend.load` itself, ids too, which Arrow reads
(`recommend._id_files`). But a model may be larger than the memory that is left, and native readers may have faults that
nobody has found yet: either would end the server.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from gnas_ext.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

LOAD = """
import sys
from gnas_ext.errors import InputError
from gnas_ext.recommend import load
try:
    load(sys.argv[1])
except InputError:
    pass  # whoever asks sees it soon enough
"""
SECONDS = 300.0


def rehearse(folder: Path) -> None:
    """Loads an artefact in another process.

    Nothing keeps the folder from changing before it is loaded here: whoever may write to it must still be trusted.

    Raises:
        InputError: that process was killed by a signal, or did not come to an end.
    """
    try:
        # A session of its own: Ctrl-C in the server's terminal is not for this one.
        ended = subprocess.run(
            [sys.executable, "-P", "-c", LOAD, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{folder}: not loaded within {SECONDS:g} s in a process of its own") from None
    if ended.returncode < 0:
        raise InputError(
            f"{folder}: a process that loaded it was killed by signal {-ended.returncode}: it is forged, or too large"
        )
