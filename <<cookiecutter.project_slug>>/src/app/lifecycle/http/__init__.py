"""The application's port: connections, requests and streams, and how each of them ends."""
