"""What the cluster knows of this pod: its identity, its endpoint, who answers at its Services."""
