"""What breaks while real load runs, and what it may cost: a row breaks one thing and accounts for every request."""
