"""Pruning with data: runs a float model on samples, removes weights or channels."""
