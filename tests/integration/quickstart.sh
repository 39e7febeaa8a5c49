#!/bin/bash
# The README's first command, on machines where nothing was ever installed:
#
#   tests/integration/quickstart.sh [RELEASE...]      bookworm and trixie, when none is named
#
# Each is a disposable host that starts from a minimal Debian and reaches Debian's mirrors. Runs on
# the machine; the part for within the host is started by the other. Takes minutes.

self=$(readlink -f "$0")
here=$(dirname "$self")
source "$here/../lib/report"
source_dir=$(dirname "$(dirname "$here")")
quickstart=$source_dir/provision/quickstart
# How it is run: on one release of two with the host's sshd.
up=("$quickstart")

# --- within the host ---

# All files below the folders where something could be left, and what a kernel keeps beside files.
# Files of /etc may be written anew with what was in them; elsewhere none may be touched.
snapshot() {
	find /etc -type f -exec sha256sum {} +
	find /etc -printf '%p %M %U:%G %l\n'
	find /usr /opt /srv /home /root /boot /var -xdev -type d -printf '%p %M %U:%G\n'
	find /usr /opt /srv /home /root /boot /var -xdev ! -type d -printf '%p %M %U:%G %s %T@ %l\n'
	find /run /dev/shm /tmp /var/lib/vm2 /var/tmp ! -path '/run/host*' ! -path "$PWD*"
	find /sys/fs/cgroup -type d
	cut -d' ' -f4- /proc/self/mountinfo
	ip -o link | cut -d: -f2
	ip rule
	ip route show table all type unicast | grep -v 'expires'
	nft list ruleset
	grep -H . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/*/forwarding
}

# Without the books of apt and dpkg, and the copies that useradd makes of what it changes. The first
# run has made two folders when it is halted.
comparable() {
	local books='/(lib/(dpkg|apt)|cache/(apt|debconf|ldconfig|man)|log)/'

	grep -vE "/var$books|/var/cache/vm2|/etc/(ld.so.cache|(passwd|group|g?shadow|sub[ug]id)-|.pwd.lock)" |
		LC_ALL=C sort
}

# The first run, from nothing. When all packages are there and nothing of ours is, it is halted for
# a moment, to write down what the machine is like.
runs_first() {
	local status=0 from=$SECONDS halted=0 pid

	set -m
	"${up[@]}" </dev/null >first 2>&1 &
	pid=$!
	set +m
	until grep -q 'configuring the build' first || ! kill -0 "$pid"; do
		sleep 0.05
	done 2>/dev/null
	kill -STOP -- "-$pid" && {
		halted=$SECONDS
		snapshot | comparable >before
		kill -CONT -- "-$pid"
		halted=$((SECONDS - halted))
	}
	wait "$pid" || status=$?
	echo "the first run: $((SECONDS - from - halted)) s, without a halt of $halted s in \
configuring the build" >times
	sed -n 's/^quickstart: \(.*: done in .*\)/    \1/p' first >>times
	cat first
	((status == 0))
}

names_packages() {
	cat first
	grep 'packages that are missing: ' first | grep -w mmdebstrap | grep -w libssh-dev
}

# As in "eth0@if7 UP 10.77.0.2/32".
shows_guest() {
	cat "$1"
	tail -n 6 "$1" | grep -q '^uid=0(root) gid=0(root)' && tail -n 6 "$1" | grep -qx 'demo' &&
		tail -n 6 "$1" | grep -qE '^eth0.* UP +[0-9]+\.[0-9.]+'
}

runs_again() {
	local from=$EPOCHREALTIME status=0

	cp /var/log/dpkg.log dpkg.before
	"${up[@]}" </dev/null >"$1" 2>&1 || status=$?
	echo "$1: $(seconds_since "$from") s" >>times
	cat "$1"
	((status == 0))
}

seconds_since() {
	awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'
}

does_nothing_twice() {
	cat second
	cmp /var/log/dpkg.log dpkg.before &&
		! grep -E 'missing|installing|building|configuring|making|adding|starting' second
}

# A person at a terminal ends at a prompt; what they type is answered.
gives_prompt() {
	local out=$PWD/terminal pid try

	mkfifo keys
	script -qec "${up[*]}" /dev/null <keys >"$out" 2>&1 &
	pid=$!
	# Not for writing only: whoever reads may have ended.
	exec 8<>keys
	for ((try = 0; try < 300; try++)); do
		grep -q 'root@demo' "$out" && break
		sleep 0.1
	done
	echo 'echo $((6 * 7))-$(id -u); exit' >&8
	wait "$pid"
	exec 8>&-
	cat "$out"
	grep -q 'root@demo' "$out" && grep -q '42-0' "$out"
}

# Whatever runs beside the shells of this test.
processes() {
	local dir line

	for dir in /proc/[0-9]*; do
		line=$(tr '\0' ' ' <"$dir/cmdline") || continue
		[[ $line == *"$self"* || ! $line =~ vm2|supervise|sbin/init|ssh ]] ||
			echo "process ${dir#/proc/} is $line"
	done 2>/dev/null
}

# By the host's own sshd, which is started as at a boot.
opens_sshd() {
	local made= status=0

	[[ -d /run/sshd ]] || { mkdir /run/sshd && made=1; }
	/usr/sbin/sshd -p 2299 -o PidFile=/run/quickstart/sshd.pid &&
		ssh -p 2299 -i ~/.ssh/vm2_demo_ed25519 -o StrictHostKeyChecking=no \
			-o UserKnownHostsFile=/dev/null demo@127.0.0.1 'id; hostname' >by-sshd 2>&1 || status=$?
	kill "$(cat sshd.pid)"
	[[ -z $made ]] || rmdir /run/sshd
	# The message of the day, which sshd's PAM file has made.
	rm -f /run/motd.dynamic
	cat by-sshd
	((status == 0)) && grep -q '^uid=0(root) gid=0(root)' by-sshd && grep -qx 'demo' by-sshd
}

is_down() {
	"$quickstart" --down || return
	processes
	[[ -z $(processes) && -z $(ip -o link | grep -F ': vm2') ]]
}

stays_when_down() {
	test -d /var/lib/vm2/guests && test -s /var/lib/vm2/hostkeys/ssh_host_ed25519_key &&
		"$quickstart" --down
}

leaves_nothing() {
	"$quickstart" --purge || return
	snapshot | comparable >after
	processes
	diff before after && [[ -z $(processes) && ! -e /var/cache/vm2 && ! -e /var/log/vm2 ]]
}

purges_twice() {
	"$quickstart" --purge && snapshot | comparable | diff before -
}

# --- what goes wrong ---

# Ends with one line that says $1 and no worse.
fails_with() {
	local said=$1 output status=0

	shift
	output=$("$@" 2>&1 </dev/null) || status=$?
	echo "$output"
	((status == 1)) && tail -n 1 <<<"$output" | grep -E "^quickstart: .*$said"
}

# Killed with all that it started when its output says $1.
is_killed_at() {
	local pid

	set -m
	"$quickstart" </dev/null >killed 2>&1 &
	pid=$!
	set +m
	until grep -qF -e "$1" killed || ! kill -0 "$pid"; do
		sleep 0.05
	done 2>/dev/null
	sleep "$2"
	kill -KILL -- "-$pid"
	wait "$pid"
	cat killed
	grep -qF -e "$1" killed
} 2>/dev/null

survives_kills() {
	is_killed_at 'configuring the build ...' 0.5 && is_killed_at 'building ...' 2 &&
		is_killed_at 'making a Debian template ...' 8 && runs_again 'after being killed' &&
		shows_guest 'after being killed'
}

inside() {
	mkdir /run/quickstart && cd /run/quickstart || exit
	[[ $1 == bookworm ]] || up+=(--with-sshd)
	check "$1_refuses_users" fails_with 'as root' setpriv --reuid 65534 --clear-groups "$quickstart"
	check "$1_first_run" runs_first
	check "$1_names_packages" names_packages
	check "$1_first_run_ends_in_guest" shows_guest first
	check "$1_second_run" runs_again second
	check "$1_second_run_ends_in_guest" shows_guest second
	check "$1_nothing_done_twice" does_nothing_twice
	check "$1_prompt_at_terminal" gives_prompt
	[[ $1 == bookworm ]] || check "$1_opens_sshd" opens_sshd
	check "$1_down" is_down
	check "$1_down_keeps" stays_when_down
	check "$1_up_again" runs_again 'up again'
	check "$1_up_again_ends_in_guest" shows_guest 'up again'
	check "$1_purge_leaves_nothing" leaves_nothing
	check "$1_purge_twice" purges_twice
	[[ $1 != bookworm ]] || check "$1_survives_kills" survives_kills
	sed 's/^/# /' times
}

# --- on the machine ---

# Prints the report of a release.
report_of() {
	local release=$1 tree

	if ! timeout 10 bash -c 'exec 3<>/dev/tcp/deb.debian.org/80' 2>/dev/null; then
		skip "$release" "deb.debian.org cannot be reached"
	elif ! tree=$(fresh_tree "$release"); then
		check "${release}_tree" false
	else
		check "${release}_says_no_network" fails_with 'installing packages failed' \
			"$here/../host" --root "$tree" run "$quickstart"
		"$here/../host" --online --root "$tree" --name fresh run "$self" inside "$release"
	fi
}

# Its report counts as ours; it has to have come to its end.
count_report() {
	local release=$1 report=$2

	cat "$report"
	((reported += $(grep -cE '^(not )?ok ' "$report")))
	((failures += $(grep -c '^not ok ' "$report")))
	grep -q '# SKIP' "$report" || check "${release}_reported" grep -q "_purge_twice" "$report"
}

if [[ ${1-} == inside ]]; then
	inside "$2"
	exit
fi
(($#)) || set -- bookworm trixie
cache=${VM2_CACHE:-/var/cache/vm2-tests}
source "$here/../lib/trees"
mkdir -p "$cache"
reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
# At once: each waits for mirrors half of its time.
for release; do
	report_of "$release" >"$reports/$release" &
done
wait
for release; do
	count_report "$release" "$reports/$release"
done
finish
