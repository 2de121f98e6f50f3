"""One script per tool; each runs alone in that tool's environment and knows edgekit only where it says so."""
