"""The load: clients that send requests and hold streams, and record what is lost."""
