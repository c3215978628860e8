"""Import paths that upstream's users know; nothing new lives here."""
