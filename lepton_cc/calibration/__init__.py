"""Calibration: runs a float model on samples and finds the ranges that quantization needs."""
