"""C sources, headers and linker scripts compiled with the user's firmware."""
