# dictamen in a container: a build stage with the tools, a second one with what runs.
#
#   docker build -t dictamen .
#   docker build -t dictamen:cuda --build-arg DEVICE=cuda .
#
# DEVICE=cpu ships without torch: the networks run in ONNX Runtime. DEVICE=cuda adds torch in the
# build that the package index serves (on Linux the one with CUDA); run it with --gpus all.

FROM debian:bookworm-slim AS build
ARG DEVICE=cpu
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/dictamen
WORKDIR /src
COPY . .
RUN extras=postgres; if [ "$DEVICE" = cuda ]; then extras=postgres,gpu; fi; \
    /opt/dictamen/bin/pip install --no-cache-dir -c constraints.txt ".[$extras]" \
 && /opt/dictamen/bin/python -m compileall -q /opt/dictamen/lib \
 && /opt/dictamen/bin/dictamen --help > /dev/null

FROM debian:bookworm-slim
# tini is process 1: it reaps what a killed worker leaves behind and passes signals on
# postgresql-client: `dictamen db backup` and `restore` call its pg_dump, pg_restore and psql
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 tini tzdata ca-certificates postgresql-client \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home --home-dir /var/lib/dictamen --shell /usr/sbin/nologin dictamen \
 && install -d -o dictamen -g dictamen -m 0750 /var/lib/dictamen /etc/dictamen
COPY --from=build /opt/dictamen /opt/dictamen
ENV PATH=/opt/dictamen/bin:$PATH PYTHONUNBUFFERED=1 DICTAMEN_CONFIG=/etc/dictamen/node.yaml
USER dictamen
WORKDIR /var/lib/dictamen
VOLUME /var/lib/dictamen
EXPOSE 11112 2575 2762 8443
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8112/healthz', timeout=4)"]
ENTRYPOINT ["/usr/bin/tini", "--", "dictamen"]
CMD ["serve", "/etc/dictamen/node.yaml"]
