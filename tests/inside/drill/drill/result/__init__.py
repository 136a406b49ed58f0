"""What the drill makes of what it saw."""
