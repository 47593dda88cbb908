"""Figures of chapter 7: flow maps and learned solvers."""

# --- flow maps ------------------------------------------------------------------------------------------
