#!/usr/bin/env bash
# What only a card can tell, in one command of at most eight minutes, on a machine that has torch,
# segmentation-models-pytorch and timm, or is given wheels; it needs no internet. --help says more.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-python3} wheels=$root/wheels site='' options=()

die() { echo "gpu.sh: $*" >&2; exit 2; }

usage() {
    cat <<TEXT
tests/bench/gpu.sh [--wheels FOLDER] [options]

  --wheels FOLDER  install these into a folder of their own first, beside what is there; default:
                   wheels/ in the project, if there is one. Where only torch, torchvision, timm and the
                   usual scientific libraries are, these suffice, fetched for its Python before:
                   pip download --no-deps --only-binary=:all: --constraint requirements.lock \\
                     -d wheels --python-version 3.12 \\
                     --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \\
                     segmentation-models-pytorch albumentations albucore simsimd stringzilla \\
                     pydantic pydantic-core annotated-types typing-inspection

PYTHON=python3.12 chooses the interpreter, COMMIT names the code where git does not. The rest:

TEXT
}

while (($#)); do
    case $1 in
        --wheels) wheels=${2:?--wheels needs a folder}; shift
            [[ -d $wheels ]] || die "--wheels $wheels: expected a folder of wheels, found none" ;;
        -h | --help) usage; options+=("$1") ;;
        *) options+=("$1") ;;
    esac
    shift
done
if [[ -d $wheels ]]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile \
        --target "$site" "$wheels"/*.whl
fi
export PYTHONPATH=$root:$site:${PYTHONPATH:-} NO_ALBUMENTATIONS_UPDATE=1
"$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)' ||
    die "expected torch for $python, which does not have it. PYTHON=/path/to/python names another one."
commit=${COMMIT:-$(git -C "$root" describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)}
"$python" -m tests.bench.gpu --commit "$commit" "${options[@]}"
