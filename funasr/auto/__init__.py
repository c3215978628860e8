"""The border: keyword arguments -> typed options -> stages."""
