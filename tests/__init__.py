"""Real Redis, real Postgres, real programs."""
