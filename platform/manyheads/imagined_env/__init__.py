"""The world model as an environment: episodes that it imagines, behind Gymnasium's interfaces."""
