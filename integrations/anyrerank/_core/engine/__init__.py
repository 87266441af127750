"""One call to one model."""
