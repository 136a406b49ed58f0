"""The result of a rehearsal: losses explained, and the reports about them."""
