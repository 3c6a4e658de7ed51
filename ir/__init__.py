"""The graph IR: types, values, ops, graphs, and what reads, prints, checks and runs them.

Lowest room of the house: it imports only NumPy (with ml_dtypes, NumPy's own extension types) and
the standard library, and everything else imports it.
"""
