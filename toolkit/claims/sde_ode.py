"""Claims of chapter 3: one SDE, one ODE, and the solvers that sample."""
