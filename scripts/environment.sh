# Sourced by the other scripts: finds a Python, and keeps virtual environments up to date with requirements/.
# POSIX shell only. Expects the checkout's folder in `root`.

# usable COMMAND: succeed if it is a Python >= 3.11 that can create virtual environments.
usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# python_of VERSION: print the command of that Python, such as 3.12; fail if the machine has none.
# pyenv puts a command for every version on the PATH, but most of them do not work: search its folders, too.
python_of() {
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3; do
        if usable "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

# find_python: print the command of the Python to use: $PYTHON, else the newest that the pinned requirements support.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        if usable "$PYTHON"; then
            printf '%s\n' "$PYTHON"
            return
        fi
        echo "PYTHON=$PYTHON is not a Python >= 3.11 with the modules venv and ensurepip." >&2
        return 1
    fi
    python_of 3.13 || python_of 3.12 || python_of 3.11 || { usable python3 && echo python3; } && return
    for candidate in python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$candidate cannot create virtual environments: its module ensurepip is missing." >&2
            echo "On Debian and Ubuntu, run 'apt-get install python3-venv'. Or choose another Python: PYTHON=/path/to/python3" >&2
            return 1
        fi
    done
    echo "No Python >= 3.11 found. Install one, or set PYTHON=/path/to/python3" >&2
    return 1
}

# prepare FOLDER REQUIREMENTS [PYTHON]: make FOLDER a virtual environment with REQUIREMENTS and this checkout.
# It returns at once if nothing has changed: a stamp in the folder has the checksum of everything that went in. The stamp
# is written last, so an interrupted installation is repeated. The body is a subshell, which keeps its variables local.
prepare() (
    stamp="$1/.holds-$(basename "$2")"
    wanted=$( (echo "$root"; cat "$root"/requirements/*.txt "$root/pyproject.toml" "$root/scripts/environment.sh") | cksum)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$1/bin/python" -c '' 2>/dev/null; then
        return
    fi
    if ! usable "$1/bin/python"; then
        python=${3:-$(find_python)} || return 1
        rm -rf "$1"
        "$python" -m venv "$1" || return 1
    fi
    echo "Installing $(basename "$2") into $1 ..." >&2
    pip="-m pip install --quiet --disable-pip-version-check --no-input"
    # hatchling comes with the pinned requirements, so the checkout is not built with a newer one.
    # shellcheck disable=SC2086 # several words on purpose
    "$1/bin/python" $pip --require-hashes --requirement "$2" --requirement "$root/requirements/build.txt" &&
        "$1/bin/python" $pip --no-build-isolation --no-deps --editable "$root" ||
        return 1
    printf '%s\n' "$wanted" >"$stamp"
)
