# In the place of python:3.11-slim: pip installs into it, and `python` is a name of it.
FROM debian-of-this-host
RUN rm -f /usr/lib/python3*/EXTERNALLY-MANAGED && ln -s python3 /usr/bin/python
