"""The effects of policies on exchanges: the contract, conditions, streams, shared state, and each policy that ships."""
