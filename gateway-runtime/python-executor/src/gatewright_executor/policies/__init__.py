"""Loads the policies of the build, and describes the failures of their code."""
