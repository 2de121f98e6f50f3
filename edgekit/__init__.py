"""edgekit: small vision networks as int8 TFLite models that can be trusted."""

__version__ = "0.1.0"
