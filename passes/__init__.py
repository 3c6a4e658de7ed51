"""Graph-to-graph passes: between the frontend's graph and code generation."""
