"""A study on many machines: handed over, its machines waited for and checked, data brought there, results home."""
