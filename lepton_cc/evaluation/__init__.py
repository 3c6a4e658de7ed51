"""Evaluates models on labelled data, side by side: quality, sizes, times, energy, robustness."""
