"""The process: runs the command line and turns an EdgekitError into one line and an exit code."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `edgekit` command."""
    from edgekit.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
