"""A study seen from outside: its state, and exports for other programs' viewers."""
