"""One step of the work each: features, a network and the decoding around it."""
