"""The load generator: plays a crowd against an Antrian and records what each client observed."""
