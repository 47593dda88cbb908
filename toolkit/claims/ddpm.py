"""Claims of chapter 1: denoising diffusion probabilistic models."""
