"""The version of lepton-cc, apart from the package's front so that any module may name it."""

# pyproject.toml says the same; a test holds them equal.
__version__ = "0.1.0"
