"""The observability of nodes and exchanges: metrics, traces, logs, recordings, explanations and replays."""
