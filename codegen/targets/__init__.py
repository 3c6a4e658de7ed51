"""Target descriptions, one TOML file each, read into dataclasses."""
