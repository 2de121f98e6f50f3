"""What `edgekit compress` reaches, measured."""
