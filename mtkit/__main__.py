from mtkit.runtime.signals import STOPPED, exit_at_once, unwind_on_signals


def main() -> None:
    """Run the command line; a signal is heard from here on, also in the half second that it takes to load."""
    unwind_on_signals()
    from mtkit.cli import main as command_line

    try:
        command_line.main()
    except SystemExit as exc:
        if isinstance(exc.code, int) and exc.code in STOPPED:
            command_line.flush_output()
            exit_at_once(exc.code)  # threads that still compute are not waited for
        raise


if __name__ == "__main__":
    main()
