"""From shards to batches. torch begins here."""
