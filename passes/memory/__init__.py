"""Memory planning: from buffers with live ranges to proven offsets in the arena."""
