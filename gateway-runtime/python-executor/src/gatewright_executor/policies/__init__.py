"""The policies of the build: found, imported and checked, and where their code fails."""
