"""One update, the loop around it, and evaluation."""
