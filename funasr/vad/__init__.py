"""Frame scores -> segments of speech."""
