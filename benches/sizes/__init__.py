"""What a larger input costs, and what it finds."""
