"""Torch networks, one folder a family."""
