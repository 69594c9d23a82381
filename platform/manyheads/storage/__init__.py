"""The world folder: what is saved, how, and how it is read back safely."""
