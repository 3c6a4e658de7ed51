"""Lowerings: what each op of the graph computes, as a kernel; one file a family."""
