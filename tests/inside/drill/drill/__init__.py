"""The drill itself: what it sees, what it calls lost, and that it leaves nothing behind."""
