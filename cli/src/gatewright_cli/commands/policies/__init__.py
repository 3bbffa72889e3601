"""Known policies, and their pages in a terminal."""
