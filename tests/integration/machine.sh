#!/bin/bash
# VM2 on a host with systemd and control groups v2 that has its kernel to itself: a Debian made from
# packages, booted by QEMU without KVM.
#
#   tests/integration/machine.sh            $VM2_BUILD names the build that is installed in it
#
# Runs on the machine; tests/lib/machine is the part for within. One boot and one reboot: minutes. With
# VM2_MACHINE_ONLY=REGEX one boot, and only the checks whose names it matches, after those that make a host
# with two guests.

self=$(readlink -f "$0")
here=$(dirname "$self")
source "$here/../lib/report"
source_dir=$(dirname "$(dirname "$here")")
cache=${VM2_CACHE:-/var/cache/vm2-tests}
# Until the machine must have ended, in seconds: a loaded host emulates slowly.
limit=${VM2_MACHINE_LIMIT:-1500}
# How often others take all rules away while packets are sent; 100 take minutes more.
flushes=${VM2_FLUSHES:-20}

# --- what it boots ---

# The same release as here, since it gets what was built here.
release() {
	(. /etc/os-release && echo "${VERSION_CODENAME-bookworm}")
}

machine_tree() {
	source "$here/../lib/trees"
	kernel_tree "$(release)"
}

# A folder's files as an ext4 image of $3 MiB, with project quotas; takes no root and no loop device.
make_image() {
	rm -f "$2"
	mke2fs -q -t ext4 -O ^has_journal,quota,project -E lazy_itable_init=1,quotatype=prjquota \
		-d "$1" "$2" "$3M"
}

# Made once for each tree, under the lock that the caller has.
machine_image() {
	local tree=$1 old

	[[ -e $tree.disk ]] || {
		make_image "$tree" "$tree.disk.new" 1536 && mv "$tree.disk.new" "$tree.disk"
	}
	for old in "$cache"/kernel-*.disk; do
		[[ $old == "$tree.disk" || -e ${old%.disk} ]] || rm -f "$old"
	done
}

# The modules of virtio disks and of quotas in the tree $1, each after those that it needs.
disk_modules() {
	local module

	for module in virtio_pci virtio_blk quota_v2; do
		sed -n "s,^\([^:]*/$module\.ko[^:]*\):\(.*\)\$,\1\2,p" "$1"/lib/modules/*/modules.dep |
			tr ' ' '\n' | tac
	done
}

# The smallest initramfs: the modules, then the root with the payload copied in.
make_initramfs() {
	local tree=$1 top=$work/initramfs module count=10

	mkdir -p "$top"/{bin,modules,proc,sys,dev,root,payload}
	cp "$(command -v busybox)" "$top/bin/busybox"
	for module in $(disk_modules "$tree"); do
		cp "$tree"/lib/modules/*/"$module" "$top/modules/$((count++))-${module##*/}"
	done
	xz -dqf "$top"/modules/*.xz 2>/dev/null || true
	cat >"$top/init" <<-'END'
		#!/bin/busybox sh
		busybox mount -t devtmpfs dev /dev
		busybox mount -t proc proc /proc
		for module in /modules/*; do
			busybox insmod "$module" 2>/dev/null
		done
		until [ -b /dev/vdb ]; do busybox sleep 0.1; done
		busybox mount -t ext4 -o prjquota /dev/vda /root
		if [ ! -e /root/opt/machine ]; then
			busybox mount -t ext4 -o ro /dev/vdb /payload
			busybox cp -a /payload/. /root/
			busybox umount /payload
		fi
		busybox umount /proc
		busybox mount -o move /dev /root/dev
		exec busybox switch_root /root /sbin/init
	END
	chmod 755 "$top/init"
	(cd "$top" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initramfs.cpio"
}

# What is installed, the tests and what they need; a service starts them.
make_payload() {
	local top=$work/payload unit=$work/payload/etc/systemd/system

	mkdir -p "$top/opt/machine/provision" "$unit/multi-user.target.wants"
	DESTDIR=$top meson install -C "$VM2_BUILD" --no-rebuild --quiet >&2 || return
	find "$top" -mindepth 1 ! -path "$top/opt*" -printf '/%P\n' >"$top/opt/machine/files"
	cp "$here/../lib/machine" "$here/../lib/report" "$here/../lib/bench" "$top/opt/machine/"
	[[ -z ${VM2_MACHINE_ONLY-} ]] || echo "$VM2_MACHINE_ONLY" >"$top/opt/machine/only"
	cp "$source_dir/provision/quickstart" "$top/opt/machine/provision/"
	cp "$(command -v busybox)" "$VM2_BUILD/tests/integration/packets" "$top/opt/machine/"
	echo "$flushes" >"$top/opt/machine/flushes"
	cat >"$unit/machine.service" <<-END
		[Unit]
		Description=the tests
		[Service]
		ExecStart=/opt/machine/machine
		StandardOutput=file:/dev/ttyS1
		StandardError=append:/dev/ttyS0
		TimeoutStopSec=5
	END
	ln -s ../machine.service "$unit/multi-user.target.wants/machine.service"
	make_image "$top" "$work/payload.img" 192
}

# --- running it ---

# What the machine needs to boot fast: no mitigations where nothing is secret, no units that only
# wait or fetch something.
boot() {
	local tree=$1 append unit

	append="console=ttyS0 quiet mitigations=off systemd.show_status=0 net.ifnames=0"
	for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
		fstrim.timer dpkg-db-backup.timer getty@tty1.service serial-getty@ttyS0.service \
		ssh.service systemd-networkd-wait-online.service; do
		append+=" systemd.mask=$unit"
	done
	# Changes to the root go to a file of QEMU's that has no name: they last over a reboot in there
	# and not longer. It has no network but its own loopback.
	timeout --signal=KILL "$limit" qemu-system-x86_64 -nodefaults -no-user-config -display none \
		-machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 \
		-kernel "$(ls "$tree"/boot/vmlinuz-*)" -initrd "$work/initramfs.cpio" -append "$append" \
		-drive "file=$tree.disk,format=raw,if=virtio,snapshot=on" \
		-drive "file=$work/payload.img,format=raw,if=virtio,readonly=on" \
		-device virtio-rng-pci -serial "file:$work/console" -serial "file:$work/report" \
		</dev/null >"$work/qemu" 2>&1
}

# What is said in the machine's last lines, when it did not come to its end.
came_to_its_end() {
	grep -q '^# end' "$work/report" || {
		cat "$work/qemu"
		tail -n 60 "$work/console"
		return 1
	}
}

run_machine() {
	local tree began=$SECONDS lock

	tree=$(machine_tree) || return
	exec {lock}>"$tree.disk.lock"
	flock "$lock"
	machine_image "$tree" || return
	exec {lock}>&-
	make_initramfs "$tree" && make_payload || return
	boot "$tree"
	echo "# the machine ran for $((SECONDS - began)) s" >>"$work/report"
	tr -d '\r' <"$work/report"
	((reported += $(grep -cE '^(not )?ok ' "$work/report")))
	((failures += $(grep -c '^not ok ' "$work/report")))
	check came_to_its_end came_to_its_end
}

if ! command -v qemu-system-x86_64 >/dev/null; then
	skip machine "QEMU is missing: apt-get install qemu-system-x86"
	finish
fi
work=$(mktemp -d "${TMPDIR:-/var/tmp}/vm2-machine.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$cache"
run_machine || check machine_is_made false
finish
