"""The ANIM network (CVPR 2024) and its ablations as presets of one model."""
