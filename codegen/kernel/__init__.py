"""The kernel IR: loops over buffers, and the schedules that transform them."""
