"""Log lines of processes: read from pipes, made records, and written to the output of the run or to its files."""
