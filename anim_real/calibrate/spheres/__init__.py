"""Spheres of a target: fitted on scans and in depth images, as observations and as a start."""
