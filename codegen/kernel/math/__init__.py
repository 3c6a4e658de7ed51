"""Our own math functions: kernel expressions in, kernel expressions out, the same on every target."""
