"""Grounding: a writer of decisions learns from how its specifications rank what a world has recorded."""
