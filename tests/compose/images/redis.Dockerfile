# In the place of the official Redis: its user has the folder of the data.
FROM debian-of-this-host
RUN install -d -o redis -g redis /data
WORKDIR /data
