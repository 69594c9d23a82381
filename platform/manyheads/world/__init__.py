"""The world model: encoder, recurrent state-space model, decoder. It knows no task."""
