"""The command `gatewright`, also as `python -m gatewright_cli`: how the supervisor starts the echo upstream."""

import gc
import sys

INTERRUPTED = 130  # as a shell has it: 128 + SIGINT


def main() -> None:
    """The entry point. Ctrl-C ends it without a traceback, also while it is still importing itself."""
    try:
        from gatewright_cli.main import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        gc.freeze()  # the process ends: its last collection need not go through all that was imported


if __name__ == "__main__":
    main()
