# Sourced by the scripts, in the project's directory: the virtual environment .venv with what a requirements file pins.
#
#   .venv/unfinished          somebody installs into it, or was interrupted while doing so
#   .venv/installed-FILE      the requirements file as it was installed

fail() {
    echo "$(basename -- "$0"): $*" >&2
    exit 1
}

# use_environment FILE [CONTAINED...]: make .venv hold what FILE pins, and with it what the CONTAINED files pin.
use_environment() {
    if ! environment_holds "$1"; then
        check_python
        (
            flock 9 || fail "cannot lock $PWD: install flock (Debian: apt-get install util-linux)"
            environment_holds "$1" || install "$@"
        ) 9<. || exit 1
    fi
}

environment_holds() {
    [ ! -e .venv/unfinished ] && cmp -s -- "$1" ".venv/installed-$1" && environment_works
}

# False also after an upgrade of Python, which looks for its packages in a new place.
environment_works() {
    .venv/bin/python -c 'import os, sys, sysconfig; sys.exit(not os.path.isdir(sysconfig.get_path("purelib")))' 2>/dev/null
}

check_python() {
    python=${PYTHON:-python3}
    command -v "$python" >/dev/null ||
        fail "$python is not installed: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$python is $("$python" --version 2>&1), too old: set PYTHON to a Python 3.11 or newer"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python has no venv module: install it (Debian: apt-get install python3-venv)"
}

install() {
    if [ -e .venv/unfinished ] || ! environment_works; then
        { rm -rf .venv && mkdir .venv && : >.venv/unfinished && "$python" -m venv .venv; } ||
            fail "cannot create .venv: make room for it, or give this user the right to write in $PWD"
    fi
    { : >.venv/unfinished && rm -f .venv/installed-*; } || fail "cannot write to .venv: remove it, and run this again"
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null ||
        fail "there is no pip in .venv: remove .venv, and run this again"
    echo "Installing $1 into .venv; the first time this takes a minute or two." >&2
    # Python compiles a module when it is first imported; most are never.
    if ! .venv/bin/python -m pip install --require-hashes --requirement "$1" --no-compile --retries 2 --no-input \
        --disable-pip-version-check --progress-bar off >.venv/install.log 2>&1; then
        rm .venv/unfinished # pip has undone what it had begun
        fail "cannot install $1 ($(grep ERROR: .venv/install.log | tail -n 1)):" \
            "see to the network and run this again, or read .venv/install.log"
    fi
    for file in "$@"; do
        cp -- "$file" ".venv/installed-$file" || fail "cannot write to .venv: make room for it, and run this again"
    done
    rm .venv/unfinished
}
