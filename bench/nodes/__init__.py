"""`python -m bench nodes`: how soon all nodes of a controller have a change, and what that costs it."""
