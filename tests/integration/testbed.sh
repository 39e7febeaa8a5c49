#!/bin/bash
# The disposable host is what it promises to be, and leaves the machine as it was. Runs on the
# machine. What is compared with a list of everything on a machine is done on a quiet one: a
# disposable host stands in for it, and starts further ones.

here=$(dirname "$(readlink -f "$0")")
source "$here/../lib/report"
host=$here/../host
marks=$(mktemp -d)
trap 'rm -rf "$marks"' EXIT

# --- what it is ---

passes_status() {
	local status=0

	"$host" run sh -c 'exit 42' || status=$?
	((status == 42))
}

# Measured as processor time, which is what the time would be on a machine that does nothing else.
starts_quickly() {
	local TIMEFORMAT='%3U %3S' user system

	read -r user system < <({ time "$host" run true; } 2>&1 | tail -1)
	echo "took $user s and $system s of processor time"
	((10#${user/./} + 10#${system/./} < 1500))
}

in_host() {
	"$host" --name probe run bash -euc "$1"
}

# --- what it leaves ---

# Everything that a host could leave on a machine.
snapshot() {
	cat /proc/self/mountinfo
	ip -o link | cut -d: -f1,2
	ip rule
	nft list ruleset 2>/dev/null
	losetup -a 2>/dev/null
	find /sys/fs/cgroup -type d 2>/dev/null
	find /proc/[0-9]*/ns -type l -printf '%l\n' 2>/dev/null | sort -u
	ps -eo comm= | grep -vxE 'ps|grep|sort|bash|find' | sort
	ls -A /var/tmp /tmp /run /var/lib/vm2 /dev/shm
	cat /proc/sys/kernel/hostname
}

# Starts a host as $1 says in a quiet machine and compares that machine before and after. The first
# one is not compared: mount(8) makes /run/mount.
leaves_nothing() {
	"$host" run bash -uc "
		host=$host
		$(declare -f snapshot)
		$host run true
		mkdir /run/snapshots && cd /run/snapshots
		snapshot >before
		$1
		for try in \$(seq 200); do
			snapshot >after
			diff before after >difference && exit 0
			sleep 0.1
		done
		cat difference
		exit 1"
}

# The same on this machine, as far as one can tell a host from its neighbours: by its namespaces.
leaves_no_namespace() {
	local ids

	ids=$("$host" run bash -c 'readlink /proc/self/ns/{mnt,pid,net,uts,ipc,cgroup} &&
		/run/host/outside readlink /proc/self/ns/net')
	! find /proc/[0-9]*/ns -type l -printf '%l\n' 2>/dev/null | grep -xF "$ids"
}

installs_nothing_outside() {
	local file

	"$host" run bash -euc 'for file in /usr/lib/vm2-mark /etc/vm2-mark /vm2-mark /root/vm2-mark \
			/var/lib/vm2/vm2-mark /var/tmp/vm2-mark /tmp/vm2-mark; do
			echo mark >"$file"
			test -s "$file"
		done
		echo "# changed" >>/etc/nsswitch.conf
		useradd vm2-mark
		rm /etc/pam.d/su'
	for file in /{usr/lib,etc,.,root,var/lib/vm2,var/tmp,tmp}/vm2-mark; do
		[[ ! -e $file ]] || return 1
	done
	! grep -q changed /etc/nsswitch.conf && ! getent passwd vm2-mark && [[ -e /etc/pam.d/su ]]
}

# What the kernel has once for all namespaces is as before when the last host has ended.
puts_shared_numbers_back() {
	local file=/proc/sys/kernel/pty/max

	"$host" run bash -c "echo 5001 >$file && [[ \$(<$file) == 5001 ]]"
	[[ $(<$file) != 5001 || $(ls -d /var/tmp/vm2-host.*/shared 2>/dev/null) ]]
}

keeps_the_checkout() {
	"$host" run bash -euc "test -e '$host'; echo x >'$here/vm2-mark'; rm -r '$here/../lib'"
	[[ ! -e $here/vm2-mark && -d $here/../lib ]]
}

ends_on_signal() {
	local pid status=0

	"$host" run bash -c "trap 'exit 7' TERM; while :; do sleep 0.05; done" &
	pid=$!
	sleep 2
	kill -TERM "$pid"
	wait "$pid" || status=$?
	((status == 7))
}

shares_a_wire() {
	"$host" --name one --wire lan0 --bind "$marks:/marks:rw" run bash -c '
		ip address add 203.0.113.1/24 dev lan0
		for try in $(seq 100); do [[ ! -e /marks/done ]] || exit 0; sleep 0.1; done; exit 1' &
	"$host" --name two --wire lan0 --bind "$marks:/marks:rw" run bash -c '
		ip address add 203.0.113.2/24 dev lan0
		for try in $(seq 40); do
			ping -q -c1 -W1 203.0.113.1 && : >/marks/done && exit 0
			sleep 0.2
		done
		exit 1' && wait $!
}

reaches_mirrors_only() {
	"$host" --online run bash -euc '
		for name in deb.debian.org security.debian.org; do
			exec 3<>/dev/tcp/$name/80
			printf "HEAD / HTTP/1.0\r\nHost: $name\r\n\r\n" >&3
			grep -q ^HTTP/ <&3
		done
		! timeout 2 bash -c "exec 3<>/dev/tcp/$1/80"' bash \
		"$(getent ahostsv4 deb.debian.org | awk '{ print $1; exit }')"
}

# --- the list ---

check status_passes passes_status
check starts_quickly starts_quickly
check hostname_set in_host '[[ $(uname -n) == probe && $(cat /etc/hostname) == probe ]]'
check own_processes_only in_host '(($(ps -e -o pid= | wc -l) < 8))'
check outside_world_answers in_host 'ping -q -c1 -W2 198.51.100.1 && ping -q -c1 -W2 2001:db8:1::1'
check outside_world_listens in_host '
	/run/host/outside nc -l -N 198.51.100.1 7 <<<echo & sleep 0.3
	[[ $(nc -N -w3 198.51.100.1 7 </dev/null) == echo ]]'
check writes_to_its_cgroups in_host '
	grep -E "^cgroup2? " /proc/mounts | while read -r _ dir _; do
		mkdir "$dir/guest" && rmdir "$dir/guest"
	done'
check proc_mounts_in_nested_namespaces in_host '
	unshare -Urmpf sh -c "mount -t proc proc /proc && test \$\$ = 1 && test -d /proc/1"'
check sysfs_mounts_in_nested_namespaces in_host '
	unshare -Urmn sh -c "mount -t sysfs sysfs /mnt && test -d /mnt/class/net/lo"'
check overlay_on_state_directory in_host '
	mkdir -p /var/lib/vm2/{l,u,w}
	unshare -Urm mount -t overlay -o lowerdir=/var/lib/vm2/l,upperdir=/var/lib/vm2/u,workdir=/var/lib/vm2/w,userxattr x /mnt'
check firewall_of_its_own in_host 'nft add table inet probe; [[ $(nft list tables) == *probe* ]]'
check terminals_of_its_own in_host 'script -qec tty /dev/null </dev/null | grep -q ^/dev/pts/0'
check bind_is_read_only "$host" --bind "$marks:/marks" run sh -c '! touch /marks/x'
check bind_can_be_written "$host" --bind "$marks:/marks:rw" run touch /marks/y
check wire_is_shared shares_a_wire
# Prints what starts a host with the options $2 and sends its launcher the signal $1 when it is up.
killed_by() {
	echo "coproc \$host ${2-} run sh -c 'echo up; exec sleep 99'; launcher=\$COPROC_PID"
	echo 'read -r -t 100 up <&"${COPROC[0]}" && [[ $up == up ]] || exit'
	echo "kill -$1 \$launcher; wait \$launcher"
}

if timeout 10 bash -c 'exec 3<>/dev/tcp/deb.debian.org/80' 2>/dev/null; then
	check reaches_mirrors_only reaches_mirrors_only
else
	skip reaches_mirrors_only "deb.debian.org cannot be reached"
fi
check signal_is_passed ends_on_signal
check installs_nothing_outside installs_nothing_outside
check shared_numbers_are_put_back puts_shared_numbers_back
check checkout_is_kept keeps_the_checkout
check leaves_no_namespace leaves_no_namespace
check leaves_nothing_normally leaves_nothing '$host run true'
check leaves_nothing_online leaves_nothing '$host --online run true'
check leaves_nothing_online_on_sigkill leaves_nothing "$(killed_by KILL --online)"
check leaves_nothing_on_failure leaves_nothing '$host run sh -c "sleep 99 & exit 3"'
check leaves_nothing_after_guests leaves_nothing '$host run bash -c "
	mkdir -p /sys/fs/cgroup/{unified,memory,}/deep/er 2>/dev/null
	mkdir -p /sys/fs/cgroup/freezer/f 2>/dev/null && {
		setsid sleep 99 & echo \$! >/sys/fs/cgroup/freezer/f/cgroup.procs
		echo FROZEN >/sys/fs/cgroup/freezer/f/freezer.state
	}
	ip link add left type veth; nft add table inet left; chmod 0 /var/lib/vm2"'
check leaves_nothing_on_sigterm leaves_nothing "$(killed_by TERM)"
check leaves_nothing_on_sigkill leaves_nothing "$(killed_by KILL)"
check leaves_nothing_of_a_wire leaves_nothing '
	$host --wire w run sleep 2 & $host --wire w run sleep 1; wait'
check next_start_removes_leftovers leaves_nothing '
	setsid $host run sleep 99 & launcher=$!
	sleep 2
	kill -KILL $(pgrep -fx "/bin/bash [^ ]*host --cleaner vm2-host.$launcher") $launcher
	sleep 0.5; ls -d /var/tmp/vm2-host.* || exit 1
	$host run true'
finish
