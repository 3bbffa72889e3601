"""What policies do to exchanges: the contract, conditions, streams, shared state, and each policy that ships."""
