"""Clocks: pulses, clock maps, frame matching and the audit of a match by geometry."""
