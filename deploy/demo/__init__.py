"""The demonstration: the whole loop turned three times with simulated people, measured, reported."""
