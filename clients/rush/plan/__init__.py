"""Plans a rush: scenarios, and the requests of the crowd that each describes."""
