"""What a model says of n inputs, in the user's own names and units, one kind a file."""
