"""Forced alignment (fa-zh): when each token of a known text was said."""
