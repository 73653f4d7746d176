"""What a study has to do: pure functions of its definition and its ledger. No Ray, no device."""
