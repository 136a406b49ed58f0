"""PostgreSQL: its migrations, its pool and its sessions, against real servers."""
