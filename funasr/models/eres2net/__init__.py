"""ERes2NetV2: the voice of a stretch of speech as one vector."""
