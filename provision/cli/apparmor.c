/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/apparmor.h"

#include "provision/base/cleanup.h"

/* Rules without a value: everything of that kind. */
static const char *const allowed[] = {
	"file", "capability", "network", "mount", "remount", "umount", "pivot_root", "signal",
	"ptrace", "unix", "dbus",
};

/* Neither read nor written, wherever a guest has its proc and sysfs. */
static const char *const closed[] = {
	"@{mnt}proc/kcore",	       "@{mnt}proc/kmsg",	    "@{mnt}proc/sysrq-trigger",
	"@{mnt}proc/kpage*",	       "@{mnt}sys/firmware/**",    "@{mnt}sys/kernel/debug/**",
	"@{mnt}sys/kernel/tracing/**", "@{mnt}sys/kernel/security/**", "@{mnt}sys/fs/pstore/**",
};

/* Read only: what is the host's, and what makes the kernel run a program there. */
static const char *const constant[] = {
	"@{mnt}proc/irq/**",
	"@{mnt}proc/bus/**",
	"@{mnt}proc/acpi/**",
	"@{mnt}proc/sys/kernel/{core_pattern,core_pipe_limit,modprobe,hotplug,poweroff_cmd}",
	"@{mnt}proc/sys/kernel/{panic*,sysrq,kptr_restrict,dmesg_restrict,randomize_va_space}",
	"@{mnt}proc/sys/kernel/{usermodehelper,firmware_config,keys,pty,yama}/**",
	"@{mnt}proc/sys/fs/{file-max,nr_open,suid_dumpable,protected_*}",
	"@{mnt}proc/sys/vm/**",
	"@{mnt}proc/sys/dev/**",
	"@{mnt}sys/kernel/**",
	"@{mnt}sys/module/**",
	"@{mnt}sys/power/**",
	"@{mnt}sys/bus/**",
};

/* File systems that show the host, and that no user namespace may mount either. */
static const char file_systems[] = "debugfs, tracefs, securityfs, devtmpfs, pstore, efivarfs, configfs";

void apparmor_profile(struct buf *out)
{
	buf_puts(out, "# Made by 'vm2 host setup', and removed by 'vm2 host setup --remove'.\n"
		      "@{mnt}=/ /dev/.vm2/\n\n"
		      "profile vm2-guest flags=(attach_disconnected,mediate_deleted) {\n");
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
		buf_printf(out, "\t%s,\n", allowed[i]);
	for (size_t i = 0; i < ARRAY_LEN(closed); i++)
		buf_printf(out, "\tdeny %s rwklx,\n", closed[i]);
	for (size_t i = 0; i < ARRAY_LEN(constant); i++)
		buf_printf(out, "\tdeny %s wklx,\n", constant[i]);
	buf_printf(out, "\tdeny mount fstype=(%s),\n}\n", file_systems);
}
