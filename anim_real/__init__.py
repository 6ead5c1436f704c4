"""anim-real: aligned pairs of noisy RGB-D frames and clean scans, and ANIM fine-tuned on them."""

__version__ = "0.1.0"
