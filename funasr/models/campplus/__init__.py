"""CAM++: the voice of a stretch of speech as one vector."""
