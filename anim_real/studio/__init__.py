"""The virtual studio: bodies, garments, a simulated Kinect, scanner and trigger box with exact ground truth."""
