"""What a Gatewright policy written in Python imports: `gatewright.policy`, and `gatewright.testing` in its tests.

`sdk.policy` and `sdk.testing` are the same objects under the names that most policies use.
`gatewright.definition` describes `policy-definition.yaml`; `gatewright.kit` is the inside of `gatewright.testing`.
Standard library only: importing it brings nothing along.
"""

__version__ = "0.1.0"
