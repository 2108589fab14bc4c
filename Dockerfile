# One image for all programs: `serve` (the default), `work`, `gateway`, `migrate` and every other command of `antrian`.
FROM python:3.11-slim AS wheel
WORKDIR /src
COPY requirements-build.lock ./
RUN pip install --no-cache-dir --require-hashes --only-binary :all: --requirement requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY antrian ./antrian
COPY server ./server
COPY workers ./workers
COPY clients ./clients
RUN pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheel .

# Everything comes as a wheel, so nothing is compiled and no compiler is needed. No pip goes into the environment.
FROM python:3.11-slim AS environment
RUN python -m venv --without-pip /opt/antrian
COPY requirements-image.lock ./
RUN pip --python /opt/antrian/bin/python install --no-cache-dir --require-hashes --only-binary :all: \
    --requirement requirements-image.lock
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/antrian/bin/python install --no-cache-dir --no-deps --no-index /wheel/*.whl \
    && pip --python /opt/antrian/bin/python check && mkdir /heads

FROM python:3.11-slim
ENV PATH=/opt/antrian/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=environment /opt/antrian /opt/antrian
# Where a volume for the signed heads of workers is mounted; a new volume takes over its owner.
COPY --from=environment --chown=10001:10001 /heads /heads
# A number, so that Kubernetes can see that it is not root. It needs to write in /tmp only, and workers in /heads.
USER 10001:10001
EXPOSE 7700 7780 9464
ENTRYPOINT ["antrian"]
CMD ["serve"]
