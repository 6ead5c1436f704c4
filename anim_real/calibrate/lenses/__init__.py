"""Cameras from pictures of a board alone: intrinsics, their distance from the factory's, a rig of cameras."""
