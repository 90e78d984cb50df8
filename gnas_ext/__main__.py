"""The command `gnas-ext`: what is said when something is missing or wrong, and with which exit status."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line: status 0 when done, 2 for input that cannot be used, 130 when interrupted."""
    try:
        from gnas_ext.cli.app import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("gnas_ext"):
            raise
        print(f"gnas-ext needs {error.name}: pip install 'gnas_ext[search]'", file=sys.stderr)
        sys.exit(2)
    sys.exit(run())


if __name__ == "__main__":
    main()
