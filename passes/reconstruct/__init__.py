"""Reconstruction: fits the weights of a compressed graph to what the original one gave."""
