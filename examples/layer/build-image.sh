#!/usr/bin/env bash
# A container image of an example's functions, for one architecture; needs Docker with buildx.
#   examples/layer/build-image.sh arm64 orders shardpack-orders:latest      # or x86_64
# Wheels in examples/layer/wheels are taken before those of the package index.
set -euo pipefail
architecture=${1:?give arm64 or x86_64}
example=${2:-orders}
tag=${3:-shardpack-$example:latest}
case $architecture in
  arm64) platform=linux/arm64 ;;
  x86_64) platform=linux/amd64 ;;
  *) echo "$0: $architecture is no architecture of Lambda; give arm64 or x86_64" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."
mkdir -p layer/wheels
# Lambda takes no attestations: with them, an image is an index.
docker buildx build --platform "$platform" --provenance=false --load --tag "$tag" \
  --build-arg "EXAMPLE=$example" --file layer/Dockerfile .
echo "$tag"
