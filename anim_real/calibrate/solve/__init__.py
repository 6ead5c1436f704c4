"""One sensor's robust joint least squares: unknowns, residuals, priors, steps."""
