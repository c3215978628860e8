"""Sound in: files, URLs, bytes, arrays -> float32 samples."""
