"""The promises, and variants that break them: a test that cannot fail proves nothing."""
