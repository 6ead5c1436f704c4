"""Calibrations in the formats of other tools."""
