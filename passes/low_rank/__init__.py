"""Low rank: replaces contractions by two or three thinner ones that give nearly the same."""
