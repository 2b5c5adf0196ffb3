import sys

try:
    from mtkit.runtime.distributed import read_processes
    from mtkit.runtime.processors import wait_awake_briefly
    from mtkit.runtime.signals import STOPPED, exit_at_once, ignore_save_requests, unwind_on_signals
except KeyboardInterrupt:  # before `main` can hear it
    sys.exit(130)

# The commands that save when SIGUSR1 asks for it.
_SAVING = {"train", "run"}


def main() -> None:
    """Run the command line; a signal is heard from here on, also in the half second that it takes to load."""
    unwind_on_signals()
    if not _SAVING.isdisjoint(sys.argv[1:]):  # a scheduler may ask before the training, or after it
        ignore_save_requests()
    wait_awake_briefly()
    from mtkit.cli import main as command_line

    try:
        command_line.main()
    except SystemExit as exc:
        # Threads that still compute are not waited for; and of several processes one that had done everything well was
        # seen to abort while Python ended (torch 2.13, gloo): torchrun would call that a failure.
        if isinstance(exc.code, int) and (exc.code in STOPPED or read_processes().count > 1):
            command_line.flush_output()
            exit_at_once(exc.code)
        raise


if __name__ == "__main__":
    main()
