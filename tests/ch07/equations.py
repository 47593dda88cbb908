"""Chapter 7: the mean velocity, its identity, and what the losses that learn it have as minimisers."""

# --- flow maps ------------------------------------------------------------------------------------------
