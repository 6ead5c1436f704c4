"""Spatial calibration of the sensors against the scanner, with evidence and gates."""
