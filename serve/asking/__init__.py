"""What a request may ask: fields and their bounds, prompts, schemas."""
