"""Pure and fast: rules, identity, policy, data."""
