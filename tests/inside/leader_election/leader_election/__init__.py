"""Leader election: several pods, one Lease, and an API that does what it is told."""
