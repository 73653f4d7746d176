"""A study being done: the driver, Ray, and what a process that trains writes to the ledger."""
