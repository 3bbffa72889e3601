"""What a node tells of itself and of exchanges: metrics, traces, logs, recordings, explanations and replays."""
