"""Search of architectures."""
