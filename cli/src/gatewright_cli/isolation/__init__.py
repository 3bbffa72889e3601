"""The isolation of processes that run policies: users, Landlock, seccomp, by level."""
