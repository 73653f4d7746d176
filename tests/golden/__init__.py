"""What must not move unnoticed: losses and weights of small runs, run_ids, and ledgers of older releases."""
