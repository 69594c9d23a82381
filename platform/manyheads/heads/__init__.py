"""What one task learns on the world's latent state."""
