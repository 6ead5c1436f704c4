"""Objects without markers: poses from their shape alone."""
