"""What a request meets before it is answered: the wire, the key, the limits, the turn."""
