"""Cameras that stream: recordings played back, pyk4a, Orbbec's SDK in a process of its own."""
