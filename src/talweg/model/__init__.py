"""The GPT, in the order of its forward pass."""
