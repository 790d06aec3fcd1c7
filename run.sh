#!/usr/bin/env bash
# The whole way from images to a submission. Read it from the bottom: the stages stand there in order,
# and nowhere else.
set -euo pipefail
caller=$PWD # where relative paths of the command line start
cd "$(dirname "$0")"
mapfile -t order < <(sed -n 's/^stage s[0-9]_\([a-z]*\).*/\1/p' run.sh)

usage() {
    cat <<TEXT
./run.sh [CONFIG] [key=value ...] [options]   run the stages in order; done ones are skipped
./run.sh setup                                only install
./run.sh test                                 install, then lint, type check and run all tests
./run.sh test PATH ...                        only run the tests there; pytest's options are taken too
./run.sh COMMAND ...                          do what is asked for beside the stages; --help says how

$(for file in pipeline/commands/[a-z]*.py; do
    printf '  %-16s %s\n' "$(basename "$file" .py)" "$(sed -n '1{s/^"""//; s/: `.*//; s/\.$//; p}' "$file")"
done)

  CONFIG           a file in configs/; default configs/demo.yaml, which renders its own data
  key=value        change a value of the configuration, such as data.root=/folder name=first seed=1
  --from STAGE     begin with this stage: ${order[*]}
  --to STAGE       end with this stage
  --folds 0,1      train and fine-tune these folds only, then stop
  --jobs N         folds at a time: a number, or auto (default): one a GPU, else one a core
  --engine ray     run the folds on a Ray cluster instead of this machine
  --restart        discard what the chosen stages did before
  --upload TEXT    send the submission to Kaggle with this message, and wait for its score

Relative paths start in the folder you call from; those inside a configuration, in the project's.
Exit codes: 0 all done; 2 an error that says what to do; 75 training was asked to stop (SIGTERM,
Ctrl-C) and has saved its state: the same command resumes it; 130 Ctrl-C elsewhere, likewise.
One stage alone: python -m pipeline.s2_train --config CONFIG --folds 0 key=value
PYTHON=python3.12 chooses the interpreter. NO_VENV=1 uses its own environment instead of .venv.
TEXT
}

die() { echo "run.sh: $*" >&2; exit 2; }

# Choose the interpreter, make .venv, and install when something changed since it was installed.
# $1: the extra to install, "" or "[test]".
setup() {
    local python=${PYTHON:-python3} stamp
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' ||
        die "needs Python 3.11 to 3.14, got $("$python" --version 2>&1). Set PYTHON=/path/to/python."
    PY=$python
    if [[ ${NO_VENV:-} == 1 ]]; then
        [[ $command == setup ]] && install_pinned "$1"
        "$PY" -c 'import sys, tomllib
from importlib.metadata import distributions
with open("pyproject.toml", "rb") as file:
    pins = tomllib.load(file)["project"]["dependencies"]
here = {found.name.lower().replace("_", "-") for found in distributions()}
missing = [pin for pin in pins if pin.partition("==")[0] not in here]
sys.exit("missing: " + ", ".join(missing) if missing else 0)' ||
            die "NO_VENV=1 takes $PY as it is. NO_VENV=1 ./run.sh setup installs what is pinned."
        return
    fi
    [[ -x .venv/bin/pip ]] || "$python" -m venv .venv ||
        die "could not make .venv (on Debian: apt install python3-venv), or use NO_VENV=1."
    PY=.venv/bin/python
    stamp=.venv/installed$1-$({ "$PY" -c 'import sys; print(sys.version, sys.prefix)'; cat pyproject.toml requirements.lock; } | sha256sum | cut -c1-16)
    [[ -e $stamp ]] && return
    install_pinned "$1"
    touch "$stamp"
}

install_pinned() {
    echo "Installing the pinned dependencies (once, a few minutes) ..."
    "$PY" -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable ".$1"
}

# The report's page is looked at in a real browser, which only the system's packages can provide.
install_browser() {
    [[ -x /usr/bin/chromium && -x /usr/bin/chromedriver ]] && return
    if [[ $EUID == 0 ]] && type apt-get >/dev/null 2>&1; then
        echo "Installing Chromium for the report's tests ..."
        apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
                chromium chromium-driver >/dev/null && return
    fi
    echo "run.sh: NO CHROMIUM: the report's page is not looked at. apt-get install chromium chromium-driver" >&2
}

# Who names tests wants their answer only, and soon.
run_tests() {
    local spread=()
    setup "[test]"
    if (($# == 0)); then
        spread=(-n logical --maxprocesses 4 --dist loadfile)
        install_browser
        "$PY" -m ruff format --check .
        "$PY" -m ruff check .
        "$PY" -m mypy
        "$("$PY" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')/shellcheck" run.sh .ci/run tests/bench/gpu.sh
    fi
    "$PY" -m pytest "${spread[@]}" "$@"
}

command=${1:-}
[[ $command == setup ]] && { setup ""; exit; }
[[ $command == test ]] && { run_tests "${@:2}"; exit; }
export PIPELINE_CALLER=$caller
[[ $command =~ ^[a-z_]+$ && -f pipeline/commands/$command.py ]] &&
    { setup ""; exec "$PY" -m "pipeline.commands.$command" "${@:2}"; }
config=configs/demo.yaml overrides=() restart=() upload=() from=data to=
folds=all jobs=auto engine=local
while (($#)); do
    case $1 in
        -h | --help) usage; exit ;;
        --from) from=${2:?--from needs a stage}; shift ;;
        --to) to=${2:?--to needs a stage}; shift ;;
        --folds) folds=${2:?--folds needs numbers such as 0,1}; shift ;;
        --jobs) jobs=${2:?--jobs needs a number or auto}; shift ;;
        --engine) engine=${2:?--engine needs local or ray}; shift ;;
        --restart) restart=(--restart) ;;
        --upload) upload=(--upload "${2:?--upload needs a message}"); shift ;;
        -*) usage >&2; die "unknown option $1" ;;
        *=*) overrides+=("$1") ;;
        *.yaml | *.yml) config=$1 ;;
        *) usage >&2; die "unknown argument $1" ;;
    esac
    shift
done

if [[ -z $to ]]; then [[ $folds == all ]] && to=report || to=finetune; fi
[[ ${#upload[@]} == 0 || ($from != report && ($to == submit || $to == report)) ]] ||
    die "--upload needs the stage submit; --from, --to and --folds leave it out"
[[ " ${order[*]} " == *" $from "* ]] || die "--from $from: expected one of: ${order[*]}"
[[ " ${order[*]} " == *" $to "* ]] || die "--to $to: expected one of: ${order[*]}"
[[ " ${order[*]} " == *" $from"*" $to "* || $from == "$to" ]] ||
    die "--from $from: expected a stage up to $to, where --to or --folds ends"
[[ $folds == all || " data split train finetune " == *" $to "* ]] ||
    die "--folds $folds: expected --to finetune or earlier, got --to $to, which needs all folds"

# Take up a stage, if it lies between --from and --to. $1: its module, the rest: its own flags.
stage() {
    [[ ${1#s?_} == "$from" ]] && reached=1
    ((reached)) && chosen+=("$1") flags+=("${@:2}")
    [[ ${1#s?_} == "$to" ]] && reached=0
    return 0
}

# Do the stages taken up, in one process: a fold need not wait for another to go on to the next one.
# SIGTERM is passed on to it, Ctrl-C reaches it by itself; its exit code, once it has saved, is ours.
# It ends with this script, also by kill -9. 143: SIGTERM came before it could do anything.
run_stages() {
    local IFS=, code=0 interrupted=1
    PIPELINE_PARENT=$$ "$PY" -m pipeline.jobs "${chosen[*]}" --config "$config" \
        "${restart[@]}" "${flags[@]}" "${overrides[@]}" &
    trap 'interrupted=1; kill -TERM $! 2>/dev/null || true' TERM
    trap 'interrupted=1' INT
    while ((interrupted)); do interrupted=0; wait $! && code=0 || code=$?; done
    exit "$((code == 143 ? 75 : code))"
}

trap 'exit 75' TERM
setup ""
# What Kaggle would refuse is told before the work.
[[ ${#upload[@]} == 0 ]] || "$PY" -m pipeline.s6_submit --config "$config" --check "${upload[@]}" "${overrides[@]}"
spread=(--jobs "$jobs" --engine "$engine") # the parts of a stage over GPUs, cores or a cluster
chosen=() flags=() reached=0
stage s0_data                                      # data.root, or the rendered demo -> checked images
stage s1_split                                     # -> folds/<data>.csv, no scene in two folds
stage s2_train --folds "$folds" "${spread[@]}"     # BCE - ln Dice -> an EMA network a fold
stage s3_finetune --folds "$folds" "${spread[@]}"  # Lovasz hinge -> the fold's final network
stage s4_predict "${spread[@]}"                    # D4 augmentation -> probability maps
stage s5_calibrate                                 # out-of-fold maps -> rules, the out-of-fold F2
stage s6_submit "${upload[@]}"                     # test maps -> submissions/<run>-<hash>.csv
stage s7_report                                    # all of it -> runs/<name>/report/index.html
run_stages
