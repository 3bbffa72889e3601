"""Where and when an execution runs: slots, threads, event loops, and who watches them."""
