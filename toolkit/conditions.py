"""Chapter 8: samples under a condition."""
