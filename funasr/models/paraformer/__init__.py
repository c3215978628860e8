"""Paraformer: the whole sentence in one pass.

Plain, with timestamps (BiCif), with hotwords (SeACo, Contextual).
"""
