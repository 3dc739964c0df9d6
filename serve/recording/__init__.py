"""What is kept of answers, and how it reaches the ledger."""
