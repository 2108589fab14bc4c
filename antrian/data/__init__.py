"""The real offices, provinces and borders; SOURCES.md says where they are from."""
