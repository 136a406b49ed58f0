"""What the lifecycle costs, and what it saves: measured side by side with services that have none."""
