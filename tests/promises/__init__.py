"""The promises, and broken variants that their tests must catch."""
