"""Chapter 8: diffusion of strings."""
