"""One node: its processes, with their files, their listeners and their specs. Each room knows those below it."""
