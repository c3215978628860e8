"""Steps joined: files in, transcripts out."""
