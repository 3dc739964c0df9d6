"""What becomes of a request once an engine has it."""
