"""Quantization: from QDQ patterns to integer ops, proofs about accumulators, what stays float."""
