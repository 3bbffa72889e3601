"""What a Gatewright policy written in Python imports: `gatewright.policy`, and `gatewright.testing` in its tests.

`sdk.policy` and `sdk.testing` are the same objects under the names that most policies use.
`gatewright.definition` describes `policy-definition.yaml`; `gatewright.kit` is the inside of `gatewright.testing`.
The package depends on the standard library only.
"""

__version__ = "0.1.0"
