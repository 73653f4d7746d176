"""Small faults put into a copy of the tree, one at a time: the tests must notice each of them.

`python -m tests.mutants` runs by hand and nightly. A room of the house has a list of its own (`of_pat.py`, …); which
tests answer for a file stands in `answers.py`. Where a mutant survives, no test holds the rule that it breaks: add one.
"""
