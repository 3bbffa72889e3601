"""The test suite as a whole: which tests run, in which order, what they cost, and what came of them."""
