"""Files and folders of a run: its private directory with what is in it, and the temporary folders of its executors."""
