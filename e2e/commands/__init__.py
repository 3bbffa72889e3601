"""Commands of `gatewright` that change what a gateway serves, and what they say of mistakes."""
