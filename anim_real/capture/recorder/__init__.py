"""Recording live cameras: threads, health of streams and triggers, what a take's record says."""
