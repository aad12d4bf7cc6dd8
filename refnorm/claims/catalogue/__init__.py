"""One file a paper; each has CLAIMS, a tuple of its claims."""
