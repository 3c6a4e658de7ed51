"""Targets: one TOML file each; reading them into `ir.target.Target`."""
