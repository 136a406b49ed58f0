"""The rollout drill. See README.md."""
