"""docker-compose.yml on a real Docker engine, which this starts and ends itself."""
