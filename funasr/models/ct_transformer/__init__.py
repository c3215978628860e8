"""CT-Transformer: one punctuation label a word, for whole texts and for live ones."""
