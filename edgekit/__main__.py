"""The process: runs the command line and turns an EdgekitError into one line and an exit code."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `edgekit` command."""
    try:
        from edgekit.cli import run

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # before there was a command line to catch it
        sys.exit(130)


if __name__ == "__main__":
    main()
