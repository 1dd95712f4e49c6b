# Sourced by the scripts, after environment.sh: node_modules with the tools that package-lock.json names.
#
#   node_modules/installed-package-lock.json      the lock as it was installed

# Why the tools cannot run here, and how to get what they need; nothing if they can.
node_missing() {
    how="install Node 18.19 or newer and npm (Debian: apt-get install nodejs npm)"
    if ! command -v node >/dev/null; then
        echo "Node is not installed: $how"
    elif ! node -e "$NODE_IS_NEW_ENOUGH"; then
        echo "Node $(node --version) is too old: $how"
    elif ! command -v npm >/dev/null; then
        echo "npm is not installed: $how"
    fi
}
NODE_IS_NEW_ENOUGH='
    const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 18 || (major === 18 && minor >= 19) ? 0 : 1);'

# use_node_tools: make node_modules hold what package-lock.json names. Nothing that came is run while installing.
use_node_tools() {
    node_tools_installed || (
        flock 9 || fail "cannot lock $PWD: install flock (Debian: apt-get install util-linux)"
        node_tools_installed || install_node_tools
    ) 9<package-lock.json
}

node_tools_installed() {
    cmp -s -- package-lock.json node_modules/installed-package-lock.json
}

install_node_tools() {
    echo "Installing package-lock.json into node_modules; the first time this takes half a minute." >&2
    said=$(npm ci --ignore-scripts --no-audit --no-fund --loglevel error 2>&1) ||
        fail "cannot install package-lock.json ($(echo "$said" | sed -n '/^npm error \(code\|$\)/d; s/^npm error //p' | head -n 1)):" \
            "see to the network and run this again"
    cp -- package-lock.json node_modules/installed-package-lock.json
}
