"""Scans: inspection, watertighting with fast winding numbers, regions, rendering."""
