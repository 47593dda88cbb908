"""The figures of single chapters, one module a chapter; what chapters share is in `toolkit.plots`."""
