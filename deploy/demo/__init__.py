"""The demonstration: the whole loop turned twice with simulated people, measured, reported."""
