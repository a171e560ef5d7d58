"""Training data that the project renders itself: scenes, and the prompts about them."""
