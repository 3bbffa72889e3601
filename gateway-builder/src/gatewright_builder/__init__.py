"""From build.yaml and policy folders to a policy engine and an executor: `build.build`.

manifest → fetching → discovery → validation → resolution → generation → environment → engine → output: each step takes
the last one's value and returns a new one; `build` strings them together. Nothing is written before all of the input
is known to be right, and the output folder changes only when everything that goes into it is ready.

This file imports nothing: `sources` is asked at each start of a node, which takes no time for what only builds.
"""
