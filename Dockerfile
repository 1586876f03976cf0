# litekeeper as one static program, in an image that holds nothing else.
#
#   docker build --build-arg LITEKEEPER_REVISION="$(git rev-parse --short=12 HEAD)" -t litekeeper:0.1.0 .
#
# There is no `# syntax=` line: it would have another image pulled before the build begins. What stands here is understood
# by BuildKit and by the builder before it.
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# The repository's history is not sent to the builder, so the revision has to be said.
ARG LITEKEEPER_REVISION=unknown
# glibc rather than musl: it needs no other target, and since 2.34 a static program resolves names from /etc/hosts and DNS by
# itself. With a target named, build scripts and macros are not linked statically.
RUN target="$(rustc --print host-tuple)" \
    && LITEKEEPER_REVISION="${LITEKEEPER_REVISION}" CARGO_PROFILE_RELEASE_STRIP=symbols \
        RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" \
    && install -D -m 0755 "target/$target/release/litekeeper" /image/usr/bin/litekeeper \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
    && install -d -m 1777 /image/tmp \
    && install -d -m 0755 /image/etc/litekeeper /state \
    && echo 'litekeeper:x:10321:10321:litekeeper:/var/lib/litekeeper:/sbin/nologin' > /image/etc/passwd \
    && echo 'litekeeper:x:10321:' > /image/etc/group

FROM scratch
COPY --from=build /image/ /
# A volume that is mounted here takes its owner from this directory.
COPY --from=build --chown=10321:10321 /state/ /var/lib/litekeeper/
# Where the state file is unless the configuration says otherwise.
ENV STATE_DIRECTORY=/var/lib/litekeeper
USER 10321:10321
EXPOSE 10321
# Asks the first address of /etc/litekeeper/litekeeper.yml or of LITEKEEPER_CONFIG, else 127.0.0.1:10321.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/bin/litekeeper", "healthcheck"]
ENTRYPOINT ["/usr/bin/litekeeper"]
CMD ["serve", "--config", "/etc/litekeeper/litekeeper.yml"]
