"""What a Gatewright policy written in Python imports: `sdk.policy`, and `sdk.testing` in its tests.

Each module here gives objects of the module of the same name in `gatewright`, which is where they are written. These
modules are public; docs/how-to/policy-contract.md lists them. What else `gatewright` has is the gateway's own.
Import `gatewright.policy` where a folder of your own is named `sdk`.
"""

from gatewright import __version__ as __version__
