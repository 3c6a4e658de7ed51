"""Pruning: which weights and channels of a float graph may go, and what the others become."""
