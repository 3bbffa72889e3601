"""`python -m gatewright_cli` is the command `gatewright`: how the supervisor starts the echo upstream."""

from gatewright_cli.main import main

if __name__ == "__main__":
    main()
