#!/usr/bin/env bash
# A Lambda layer with shardpack and what it needs: examples/layer/build/layer.zip, for one architecture.
#   examples/layer/build.sh arm64            # or x86_64
#   examples/layer/build.sh x86_64 dist/shardpack-*.whl
# PYTHON_VERSION is that of the function's runtime. boto3 is in Lambda's runtimes already.
# SLIM=yes leaves out protobuf and xxhash, which a wheel with the native core does without (docs/lambda.md, "The layer").
set -euo pipefail
architecture=${1:?give arm64 or x86_64}
requirement=${2:-shardpack}
version=${PYTHON_VERSION:-3.13}
case $architecture in
  arm64) machine=aarch64 ;;
  x86_64) machine=x86_64 ;;
  *) echo "$0: $architecture is no architecture of Lambda; give arm64 or x86_64" >&2; exit 2 ;;
esac
case ${SLIM:-no} in
  yes) dependencies=--no-deps ;;
  no) dependencies= ;;
  *) echo "$0: SLIM is ${SLIM}; give yes or no" >&2; exit 2 ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
build=$here/build
rm -rf "$build"
mkdir -p "$build/python"
# Wheels only: what is compiled here would be for this machine. Amazon Linux 2023 has glibc 2.34.
python3 -m pip install --quiet --disable-pip-version-check --target "$build/python" --only-binary :all: \
  --implementation cp --python-version "$version" --abi "cp${version/./}" --abi abi3 --abi none \
  --platform "manylinux_2_34_$machine" --platform "manylinux_2_28_$machine" --platform "manylinux_2_17_$machine" \
  --platform "manylinux2014_$machine" --platform any $dependencies "$requirement"
find "$build/python" -name __pycache__ -type d -prune -exec rm -rf {} +
rm -rf "$build/python/bin"
if [ -n "$dependencies" ] && ! ls "$build"/python/shardpack/wire/_native.*.so >/dev/null 2>&1; then
  echo "$0: SLIM=yes needs the native core, and $requirement is without it: name a wheel that has it" >&2; exit 1
fi
# A function cannot write where a layer lies, so without bytecode each cold start compiles the sources again. By its
# hash and unchecked, because the layer is unpacked with other times than the files have here.
if "python$version" -c "" 2>/dev/null; then  # a pyenv has a command for versions, too, that it does not run
  "python$version" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$build" -p /opt "$build/python"
else
  echo "$0: python$version is not here, so the layer has no bytecode, and cold starts take several times as long" >&2
fi
python3 - "$build/python" "$machine" <<'CHECK'
import pathlib, sys
wanted = {"aarch64": 183, "x86_64": 62}[sys.argv[2]]  # e_machine in the header of an ELF file
for path in pathlib.Path(sys.argv[1]).rglob("*.so"):
    if int.from_bytes(path.read_bytes()[18:20], "little") != wanted:
        sys.exit(f"{path} is not for {sys.argv[2]}: name a wheel that is")
CHECK
(cd "$build" && python3 -m zipfile -c layer.zip python)
echo "$build/layer.zip, $(wc -c <"$build/layer.zip") bytes, $(du -sb "$build/python" | cut -f1) unpacked"
