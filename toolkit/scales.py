"""Chapter 8: larger pictures on a small machine."""
