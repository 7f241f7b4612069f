"""What the clauses share: makers of pictures and networks, figures, streams, planted inputs."""
