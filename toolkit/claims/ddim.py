"""Claims of chapter 2: denoising diffusion implicit models."""
