"""What lies on disk: tensors, JSON, folders, checkpoints, and where numbers come from."""
