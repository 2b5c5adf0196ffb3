import os
import sys

from mtkit.runtime.signals import STOPPED, ignore_signals, unwind_on_signals


def main() -> None:
    """Run the command line; a signal ends it at once, also in the half second that it takes to load."""
    unwind_on_signals()
    try:
        from mtkit.cli import main as command_line
    except SystemExit as exc:
        ignore_signals()
        print(STOPPED[exc.code], file=sys.stderr)  # noqa: T201
        raise
    try:
        command_line.main()
    except SystemExit as exc:
        if isinstance(exc.code, int) and exc.code in STOPPED:
            command_line.flush_output()
            os._exit(exc.code)  # threads that still compute are not waited for
        raise


if __name__ == "__main__":
    main()
