# In the place of the official Postgres: what docker-compose.yml uses of its image.
FROM debian-of-this-host
COPY postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
RUN rm -rf /var/lib/postgresql /run/postgresql \
    && install -d -o postgres -g postgres /var/lib/postgresql \
    && install -d -o postgres -g postgres -m 3777 /run/postgresql \
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
ENV PGDATA=/var/lib/postgresql/18/docker
ENTRYPOINT ["docker-entrypoint.sh"]
