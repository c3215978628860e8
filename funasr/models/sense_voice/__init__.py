"""SenseVoice: what was said, in which language and mood, and what else was heard, in one pass."""
