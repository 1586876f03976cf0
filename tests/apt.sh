# Installs Debian packages for tests/run, which sources it: only where it may, and after a question unless the answer is given.
#
# LITEKEEPER_TEST_INSTALL=yes or no decides without a question, and so does CI, which means yes. Needs `say` and `have`.

as_root=()
# Why no package is installed; empty while one may be.
why_no_apt=
# With a mirror that hangs, every step waits for its own timeout; this keeps their number down.
APT_DEADLINE=$((SECONDS + 600))
# What is to happen without a question: yes, no, or ask.
case "${LITEKEEPER_TEST_INSTALL:-}" in
yes | no) consent=$LITEKEEPER_TEST_INSTALL ;;
'') case "${CI:-}" in '' | 0 | no | false) consent=ask ;; *) consent=yes ;; esac ;;
*)
    say "LITEKEEPER_TEST_INSTALL is yes or no, not $LITEKEEPER_TEST_INSTALL"
    exit 2
    ;;
esac
if [ "$consent" = no ]; then
    why_no_apt="LITEKEEPER_TEST_INSTALL=no"
elif ! have apt-get; then
    why_no_apt="there is no apt-get"
elif [ "$(id -u)" != 0 ]; then
    if have sudo && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        why_no_apt="not root, and sudo would ask for a password"
    fi
fi

# Asks once, before the first package. TERMINAL_IN is the descriptor of the terminal, empty without one.
may_install() { # packages
    local answer=
    [ -z "$why_no_apt" ] || return 1
    [ "$consent" = ask ] || return 0
    if [ -z "${TERMINAL_IN:-}" ]; then
        why_no_apt="no terminal to ask at; LITEKEEPER_TEST_INSTALL=yes or --install allows it"
        return 1
    fi
    say "some tests need Debian packages that are not installed: $*"
    printf 'tests/run: install them with apt-get? [y/N] ' >&2
    read -r -t 300 -u "$TERMINAL_IN" answer || true
    case "$answer" in
    [yY] | [yY][eE][sS]) consent=yes ;;
    *)
        why_no_apt="the answer was no; LITEKEEPER_TEST_INSTALL=no or --no-install spares the question"
        return 1
        ;;
    esac
}

# "${a[@]+…}": an empty array is an unbound variable to bash before 4.4.
root() { ${as_root[@]+"${as_root[@]}"} "$@"; }

apt() { # seconds, then apt-get's arguments
    local seconds=$1
    shift
    root env DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_SUSPEND=1 \
        timeout --foreground --kill-after=10 "$seconds" \
        apt-get -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold \
        -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 "$@" >&2
}

POLICY=${POLICY:-/usr/sbin/policy-rc.d}
policy_made=
restore_policy() {
    [ -z "$policy_made" ] || root rm -f "$POLICY"
    policy_made=
}
trap restore_policy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Debian starts a service as it installs it. The tests run their own Prometheus on ports of their own, so the
# packaged ones would only hold ports and memory. A policy that is there already is somebody's choice and stays.
forbid_service_start() {
    if [ -e "$POLICY" ] || [ -L "$POLICY" ]; then
        return 0
    fi
    policy_made=yes
    printf '#!/bin/sh\nexit 101\n' | root tee "$POLICY" >/dev/null && root chmod 755 "$POLICY"
}

# Only after this script installed it: a service that was here before belongs to somebody.
quiet_service() { # package, which is the service's name as well
    if have systemctl && [ -d /run/systemd/system ]; then
        # It would come up at the next boot otherwise, policy or not.
        root timeout 60 systemctl disable --now "$1.service" >&2 || say "could not disable $1.service"
    elif [ -x "/etc/init.d/$1" ] && root timeout 60 "/etc/init.d/$1" status >/dev/null 2>&1; then
        root timeout 60 "/etc/init.d/$1" stop >&2 || say "could not stop the packaged $1"
    fi
}

installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed'; }

install() { # packages; the return code says whether all of them are there
    may_install "$@" || return 1
    local attempt code=1 service new_services=()
    for service in prometheus prometheus-alertmanager; do
        installed "$service" || new_services+=("$service")
    done
    say "installing $*"
    # Fetching may be cut off at any moment, unpacking not: hence the two steps. The lists of packages are only
    # fetched when those at hand will not do, which saves most runs the slowest part.
    for attempt in 1 2; do
        if [ "$SECONDS" -gt "$APT_DEADLINE" ]; then
            why_no_apt="apt-get took too long"
            return 1
        fi
        if [ "$attempt" = 2 ]; then
            # "Error-Mode=any": apt-get calls an update a success even if it could reach nobody.
            apt 120 -o APT::Update::Error-Mode=any update || apt 120 -o APT::Update::Error-Mode=any update || {
                why_no_apt="apt-get could not fetch the lists of packages"
                return 1
            }
        fi
        if apt 300 install --no-install-recommends --download-only "$@"; then
            code=0
            break
        fi
    done
    if [ "$code" = 0 ]; then
        forbid_service_start || say "could not write $POLICY; a service may start and is stopped after"
        apt 600 install --no-install-recommends "$@" || code=$?
        restore_policy
        for service in ${new_services[@]+"${new_services[@]}"}; do
            if installed "$service"; then quiet_service "$service"; fi
        done
    fi
    return "$code"
}
