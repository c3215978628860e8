"""Small models that need no download, one directory each with its card."""
