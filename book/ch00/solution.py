"""The right answers of lesson 00, from 00_start_here.ipynb; its tasks compare with them.

Written by `toolkit build`: edit the notebook.
"""

import math


def recover_x0(x_t, eps, alpha, sigma):
    """x_0 from x_t = alpha x_0 + sigma eps.  x_t, eps: tensors of one shape; alpha, sigma: numbers."""
    return (x_t - sigma * eps) / alpha


alpha_bar = 1 / (1 + math.exp(2))
