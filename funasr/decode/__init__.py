"""Network outputs -> tokens and times."""
