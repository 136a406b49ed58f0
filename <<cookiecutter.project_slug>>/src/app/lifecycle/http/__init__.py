"""The application's port: connections, requests, streams, and how each of them ends."""
