"""The synthetic world: facts, customers, labelers and the gold taste that the loop is measured by."""
