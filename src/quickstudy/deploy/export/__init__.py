"""Adapted models as graphs for programs without quickstudy: ONNX, torch.export, and a folder for the browser."""
