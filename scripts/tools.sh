#!/usr/bin/env bash
# Puts cargo-nextest and cargo-deny into .tools/ of this checkout, unless the machine has them already.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH=$top/.tools/bin:$PATH

missing=()
for tool in cargo-nextest cargo-deny; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
[ ${#missing[@]} -gt 0 ] || exit 0

# Prebuilt first: compiling the two takes a quarter of an hour on two cores.
for tool in "${missing[@]}"; do
    printf 'tools: getting %s\n' "$tool" >&2
    wanted=$(mktemp)
    grep -- "-$tool==" "$top/scripts/tools.txt" >"$wanted"
    if python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
        --root-user-action ignore --upgrade --target "$top/.tools/$tool" -r "$wanted" 2>"$wanted.log"; then
        mkdir -p "$top/.tools/bin"
        ln -sf "../$tool/bin/$tool" "$top/.tools/bin/$tool"
    else
        printf 'tools: no prebuilt %s (%s); building it from source\n' "$tool" "$(tail -n 1 "$wanted.log")" >&2
        cargo install --locked --quiet --root "$top/.tools" "$tool"
    fi
    rm -f "$wanted" "$wanted.log"
    "$tool" --version >&2
done
