# docker build --build-arg HELIOSTAT_COMMIT=$(git rev-parse --short=12 HEAD) -t heliostat .
#
# docker run --network host heliostat
#   runs the topology that is in the image: two built-in clusters on 127.0.0.1, and the daemon between them.
# docker run -p 8080:8080 -v ./topology.yaml:/etc/heliostat/topology.yaml:ro heliostat
#   runs a topology of your own; with `http: { listen: 0.0.0.0:8080 }` its status can be seen from outside.
#
# What is on its way arrives before it ends, within 20 s: let it, with `docker stop --time 25`.

FROM rust:1-slim-bookworm AS build
# librdkafka, OpenSSL, zlib and zstd are built from source; the first four are all that it takes. The last is for the
# image below.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev make perl ca-certificates \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# What `heliostat --version` shows, because the repository's history is not copied.
ARG HELIOSTAT_COMMIT
RUN cargo build --release --locked --bin heliostat

# The same Debian: the binary links its libc, libm and libgcc, and nothing else.
FROM debian:bookworm-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/heliostat /usr/local/bin/heliostat
COPY topologies/active-standby.yaml /etc/heliostat/topology.yaml
# The only place that is written to: built-in clusters keep their data in ./data unless their topology says otherwise.
# A user of no name, by number, so that an orchestrator can see that it is not root.
RUN install -d -m 0755 -o 65532 -g 65532 /var/lib/heliostat
WORKDIR /var/lib/heliostat
VOLUME /var/lib/heliostat
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
# The image has no curl, and needs none: bash can ask. A topology that listens on another port needs another check.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/bin/bash", "-c", \
  "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /livez HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["/usr/local/bin/heliostat"]
CMD ["run", "/etc/heliostat/topology.yaml"]
