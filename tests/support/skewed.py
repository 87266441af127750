"""Runs a command of anyrerank on a machine whose clock is wrong: `python skewed.py SECONDS COMMAND...`."""

from __future__ import annotations

import sys
import time


def main(seconds: str, *command: str) -> None:
    right = time.time
    time.time = lambda: right() + float(seconds)
    sys.argv[1:] = command

    from anyrerank.__main__ import main as run  # with the wrong clock

    run()


if __name__ == "__main__":
    main(*sys.argv[1:])
