"""Claims of chapter 7: the mean direction itself, learned, and solvers that are learned.

Flow maps live on `Flow`, x_t = (1 - t) x_0 + t eps, and jump from t to s by the mean velocity u(x, t, s).
Exact where the model is: on Gaussians in closed form, on mixtures by the trajectory to twelve digits.  What
takes minutes comes from the recorded studies, such as `recorded("flow_maps")`.
"""

# --- flow maps ------------------------------------------------------------------------------------------
