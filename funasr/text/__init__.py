"""Token ids <-> text."""
