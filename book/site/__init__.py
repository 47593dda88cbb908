"""The book as a static site."""
