"""What a Gatewright policy written in Python imports: `sdk.policy`, and `sdk.testing` in its tests.

`sdk.definition` describes `policy-definition.yaml`. Standard library only: importing it brings nothing along.
"""

__version__ = "0.1.0"
