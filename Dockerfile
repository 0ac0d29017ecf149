# docker build --build-arg HELIOSTAT_COMMIT=$(git rev-parse --short=12 HEAD) -t heliostat .

FROM rust:1-slim-bookworm AS build
# librdkafka, OpenSSL, zlib and zstd are built from source; this is all that it takes.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev make perl \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# What `heliostat --version` shows, because the repository's history is not copied.
ARG HELIOSTAT_COMMIT
RUN cargo build --release --locked --bin heliostat \
 && install -D -m 0755 target/release/heliostat /out/usr/local/bin/heliostat \
 && install -D -m 0644 topologies/active-standby.yaml /out/etc/heliostat/topology.yaml \
 && install -d -m 0755 -o 65532 -g 65532 /out/var/lib/heliostat

# Holds libc, libm, libgcc and the certificate authorities, and no shell; the binary links nothing else.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/ /
# Built-in clusters of a topology keep their data in ./data unless it says otherwise.
WORKDIR /var/lib/heliostat
VOLUME /var/lib/heliostat
# The user `nonroot` of the image, by number, so that an orchestrator can see that it is not root.
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
# The image has no curl: the binary asks its own daemon.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["/usr/local/bin/heliostat", "health", "--url", "http://127.0.0.1:8080/livez"]
ENTRYPOINT ["/usr/local/bin/heliostat"]
CMD ["run", "/etc/heliostat/topology.yaml"]
