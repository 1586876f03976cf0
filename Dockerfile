# litekeeper as a static program, in an image without anything else.
#
#   docker build --build-arg LITEKEEPER_REVISION="$(git rev-parse --short=12 HEAD)" -t litekeeper:0.1.0 .
#
# There is no `# syntax=` line, because it would pull another image before the build. BuildKit and the builder before it
# understand this file.
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# The builder does not get the history of the repository, so the revision is an argument.
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
# The default directory of the state file.
ENV STATE_DIRECTORY=/var/lib/litekeeper
USER 10321:10321
EXPOSE 10321
# Asks the first address of /etc/litekeeper/litekeeper.yml or of LITEKEEPER_CONFIG, else 127.0.0.1:10321.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/bin/litekeeper", "healthcheck"]
ENTRYPOINT ["/usr/bin/litekeeper"]
CMD ["serve", "--config", "/etc/litekeeper/litekeeper.yml"]
