"""One call to several models."""
