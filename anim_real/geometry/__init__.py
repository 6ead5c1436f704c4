"""Coordinate frames, cameras, depth images, distances: the mathematics every stage shares."""
