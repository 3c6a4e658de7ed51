"""Systems around the engine, one TOML file each: ports, their rates and latencies."""
