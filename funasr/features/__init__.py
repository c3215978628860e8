"""Samples -> log-mel features."""
