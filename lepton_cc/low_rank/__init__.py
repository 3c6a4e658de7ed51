"""Low rank with data: runs a float model on samples and factorizes the layers where it pays."""
