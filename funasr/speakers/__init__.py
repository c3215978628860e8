"""Who speaks when: windows of speech, clusters of their voices, turns, and the speaker of each word."""
