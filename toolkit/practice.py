"""Chapter 8: choosing a sampler."""
