"""The Python face: worlds, training, evaluation and goals as few names. The commands are thin over it."""
