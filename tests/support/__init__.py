"""What tests and make share: stubs, stores, callers."""
