# An image of Shipwake: the program on a small Debian, as a user without rights, with nothing to write to but /data.
#   docker build -t shipwake .
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake pkg-config libssl-dev zlib1g-dev libcurl4-openssl-dev
WORKDIR /src
COPY . .
RUN cargo build --profile dist --locked --bin shipwake

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home shipwake \
    && install -d -o shipwake -g shipwake /data
COPY --from=build /src/target/dist/shipwake /usr/local/bin/shipwake
COPY deploy/healthy.sh /usr/local/bin/healthy
USER 10001:10001
# A container has a network of its own: who may reach it is decided outside, by what is published and by a proxy in front.
ENV SHIPWAKE_DATA=/data \
    SHIPWAKE_UI_ADDR=0.0.0.0:4400 \
    SHIPWAKE_OTLP_GRPC_ADDR=0.0.0.0:4317 \
    SHIPWAKE_OTLP_HTTP_ADDR=0.0.0.0:4318 \
    SHIPWAKE_BEHIND_PROXY=true
EXPOSE 4400 4317 4318
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["healthy"]
ENTRYPOINT ["shipwake"]
CMD ["serve"]
