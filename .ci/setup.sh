# Sourced by demo and check: what both need of the machine, and how they talk.
#
# need_packages and need_go install what is missing, with apt alone. Nothing
# else on the machine is changed.

SUDO=
[ "$(id -u)" = 0 ] || SUDO=sudo

# step announces what comes next, with the time since the start.
step() {
	printf '\n\033[1m[%d:%02d] %s\033[0m\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"
}

# fail stops with the cause in one line.
fail() {
	echo "${0##*/}: error: $*" >&2
	exit 1
}

# need_packages PACKAGE… installs those that are not there.
need_packages() {
	local missing=() p
	for p in "$@"; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
	done
	[ ${#missing[@]} = 0 ] && return
	step "installing ${missing[*]}"
	if [ -n "$SUDO" ] && ! command -v sudo >/dev/null; then
		fail "not root and no sudo: install ${missing[*]} by hand"
	fi
	$SUDO apt-get -qq update
	$SUDO env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null
}

# need_redis installs Redis without leaving its service running: the demo
# needs the program, and the port may be wanted by others.
need_redis() {
	local had=no
	dpkg-query -W -f '${Status}' redis-server 2>/dev/null | grep -q 'ok installed' && had=yes
	need_packages redis-server redis-tools
	if [ $had = no ] && [ -d /run/systemd/system ]; then
		$SUDO systemctl disable --quiet --now redis-server
	fi
}

# need_go puts a Go on PATH that can build this module. Go 1.21 and later
# fetch the version that go.mod names by themselves (GOTOOLCHAIN=auto). An
# older one, such as Debian 12's, fetches it as the module that it is: through
# the module proxy, checked against the checksum database.
need_go() {
	local want minor dir
	want=$(sed -n 's/^toolchain //p' go.mod)
	if ! command -v go >/dev/null; then
		[ -x /usr/local/go/bin/go ] && PATH=/usr/local/go/bin:$PATH
	fi
	command -v go >/dev/null || need_packages golang-go ca-certificates
	export GOTOOLCHAIN=auto
	minor=$(cd / && go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
	if [ "${minor:-0}" -ge 21 ]; then
		return
	fi
	step "fetching $want"
	dir=$(go env GOMODCACHE)/golang.org/toolchain@v0.0.1-$want.linux-amd64
	if [ ! -x "$dir/bin/go" ]; then
		(
			empty=$(mktemp -d)
			trap 'rm -rf "$empty"' EXIT
			cd "$empty"
			echo "module empty" >go.mod
			go mod download "golang.org/toolchain@v0.0.1-$want.linux-amd64"
		)
		# Module files are read-only data; these are programs.
		chmod a+x "$dir"/bin/* "$dir"/pkg/tool/*/*
	fi
	PATH=$dir/bin:$PATH
	hash -r
	[ "$(go env GOVERSION)" = "$want" ] || fail "fetching $want did not give a working Go"
}
