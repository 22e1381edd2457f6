"""What reaches into PyTorch's compiler, and may change with any of its releases."""
