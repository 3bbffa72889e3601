"""The bench, in its short form: rows beside what is recorded of them."""
