"""Torch layers shared by the models."""
