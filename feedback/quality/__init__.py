"""How good labels are: agreement, biases, gold checks, and who seems to work against the rest."""
