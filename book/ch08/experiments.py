"""Claims of chapter 8: practice.  Which sampler for which budget, what a condition does to samples, larger
pictures on a small machine, and a contest that counts calls.

The exact posterior, the exact tilted density and exact flows judge wherever they exist.  What takes minutes
comes from recorded studies in `recorded/`.
"""

# --- choosing a sampler ---------------------------------------------------------------------------------


# --- conditions -----------------------------------------------------------------------------------------


# --- larger pictures, memory, speed, other worlds -------------------------------------------------------


# --- the contest ----------------------------------------------------------------------------------------
