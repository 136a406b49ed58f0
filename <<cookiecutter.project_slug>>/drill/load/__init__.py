"""The clients: what they send, what they get, what they lose."""
