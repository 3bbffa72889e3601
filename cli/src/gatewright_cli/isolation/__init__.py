"""What processes in which policies run are kept from: users, Landlock, seccomp, by level."""
