"""Decides where and when an execution runs: slots, threads, event loops, and the watchdogs of these."""
