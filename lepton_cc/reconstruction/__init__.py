"""Reconstruction with data: makes a compressed model give again what the original gave."""
