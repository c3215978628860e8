"""Upstream's import paths of helpers."""
