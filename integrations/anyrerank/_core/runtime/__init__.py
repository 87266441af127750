"""Flows and the two drivers that run them."""
