"""The process that runs Gatewright's Python policies.

registry → policy_loader → dispatch → translator → server. `main` wires them; `dispatch` is the core and does no I/O.
"""
