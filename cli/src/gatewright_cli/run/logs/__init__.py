"""Log lines and log levels of a run: redacted, exported, changed, and written to files that are opened again."""
