"""The executor that the bench compares with: a first, naive one."""
